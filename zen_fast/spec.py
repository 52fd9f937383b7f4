"""What an encoder is: the numbers and choices that one graph needs to compute any architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
Pooling = Literal["first", "last", "mean"]
NormPosition = Literal["pre", "post", "both"]
"""Before a sublayer, after its residual sum, or before it and on its output (Gemma 2)."""


@dataclass(frozen=True)
class RelativeAttentionSpec:
    """DeBERTa's disentangled attention (He et al., ICLR 2021, arXiv 2006.03654)."""

    num_buckets: int
    """Relative positions run over [-num_buckets, num_buckets); the table has twice as many rows."""
    log_buckets: bool
    """Distances beyond half of num_buckets share logarithmic buckets up to max_distance."""
    max_distance: int
    content_to_position: bool
    position_to_content: bool
    shares_projections: bool
    """The relative table goes through the content's key and query projections."""
    table_norm: bool
    """The relative table passes through a LayerNorm before it is projected."""


@dataclass(frozen=True)
class PositionBiasSpec:
    """T5's term of the scores for each head and distance (Raffel et al., JMLR 2020, arXiv
    1910.10683), the same in every layer."""

    num_buckets: int
    """Rows of the table; half of them for keys behind the query."""
    max_distance: int
    """Distances from here on share a bucket."""


@dataclass(frozen=True)
class DecoderSpec:
    """The decoder of an encoder-decoder model, which takes one step: its answer's first token."""

    num_layers: int
    start_id: int
    """The token that it starts from."""


@dataclass(frozen=True)
class ConvolutionSpec:
    """A convolution over the embeddings, added to the first layer's output (DeBERTa-v2-xlarge)."""

    kernel_size: int
    activation: Activation


@dataclass(frozen=True)
class LayerSpec:
    """What may differ from one layer to the next."""

    window: int | None = None
    """A token attends to neighbours at a distance of at most this; None for all of them."""
    rotary: tuple[float, ...] | None = None
    """Inverse frequencies of the rotary embedding, (head_dim / 2,); None without rotary."""
    attention_norm: bool = True
    """False where the attention reads the residual stream directly (ModernBERT's first layer)."""


@dataclass(frozen=True)
class HeadSpec:
    """How the last hidden states become logits: pool, dense, activation, norm, classifier."""

    num_labels: int
    """Columns of the result; the width of an embedding where there is no classifier."""
    pooling: Pooling = "first"
    """Which rows are read; a decoder reads them all, and "mean" says so."""
    dense: bool = True
    dense_width: int = 0
    """Width of the dense layer's output; 0 stands for hidden_size."""
    dense_bias: bool = True
    activation: Activation | None = "tanh"
    norm: bool = False
    classifier: bool = True
    """False for a bi-encoder, whose pooled rows are the result."""
    classifier_bias: bool = True
    is_generative: bool = False
    """The logit is that of a language model's answer; the head is made from its vocabulary's."""
    is_tied: bool = False
    """Generative heads: the vocabulary's output rows may be those of its input."""
    logit_cap: float = 0.0
    """Generative heads: a token's logit is cap * tanh(logit / cap); 0 for no cap."""
    logit_scale: float = 1.0
    """Generative heads: factor on a token's logit."""
    skipped_id: int | None = None
    """Pooling "last": the row of the last token that is not this one."""


@dataclass(frozen=True)
class EncoderSpec:
    """One encoder with its classification head, whatever family it comes from."""

    architecture: str
    vocab_size: int
    hidden_size: int
    num_heads: int
    intermediate_size: int
    max_length: int
    """Longest sequence, in tokens, that the position scheme supports."""
    layers: tuple[LayerSpec, ...]
    head: HeadSpec
    embedding_size: int = 0
    """Width of the embedding tables; a projection to hidden_size follows where they differ."""
    embedding_projection_bias: bool = True
    embedding_projection_first: bool = False
    """The projection comes before the embeddings' norm (DeBERTa) instead of after it (ELECTRA)."""
    num_token_types: int = 0
    num_positions: int = 0
    """Rows of the learned position table; 0 where there is none."""
    position_offset: int = 0
    """Position id of a sequence's first token."""
    padding_id: int | None = None
    """RoBERTa only: tokens with this id sit at position padding_id and do not advance the count."""
    embedding_norm: bool = True
    norm_position: NormPosition = "post"
    norm_eps: float = 1e-12
    norm_bias: bool = True
    norm_centred: bool = True
    """LayerNorm; False for RMSNorm, which does not subtract the mean."""
    final_norm: bool = False
    attention_bias: bool = True
    attention_output_bias: bool = True
    attention_scale: float = 0.0
    """Factor on the attention scores; 0 stands for head_dim ** -0.5."""
    attention_cap: float = 0.0
    """Scaled scores become cap * tanh(score / cap); 0 for no cap."""
    causal: bool = False
    """A token attends to itself and to what comes before it."""
    query_independent: bool = False
    """Tokens before the document attend to each other alone, so that one computation of them serves
    every document; the head reads the last token, which has seen both."""
    num_kv_heads: int = 0
    """Heads of keys and values, each for as many adjacent query heads; 0 stands for num_heads."""
    head_width: int = 0
    """Width of a head; 0 stands for hidden_size / num_heads."""
    query_key_norm: bool = False
    """Each head of queries and keys passes through a norm before it is turned (Qwen3)."""
    embedding_scale: float = 1.0
    """Factor on the token embeddings."""
    activation: Activation = "gelu"
    gate: Literal["none", "activate_first", "activate_second"] = "none"
    """Gated FFN: which half of the up-projection goes through the activation."""
    ffn_up_bias: bool = True
    ffn_down_bias: bool = True
    relative: RelativeAttentionSpec | None = None
    position_bias: PositionBiasSpec | None = None
    decoder: DecoderSpec | None = None
    convolution: ConvolutionSpec | None = None

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def last_layer_is_pooled(self) -> bool:
        """Whether of the last layer's output only one token's row of each sequence is computed,
        because the head reads no other.
        """
        return self.head.pooling != "mean"

    @property
    def head_dim(self) -> int:
        return self.head_width or self.hidden_size // self.num_heads

    @property
    def query_width(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def key_width(self) -> int:
        return (self.num_kv_heads or self.num_heads) * self.head_dim

    @property
    def floats_kept_per_token(self) -> int:
        """Of the keys and values that later tokens read of a prefix, in all layers."""
        return 2 * self.num_layers * self.key_width

    @property
    def embedding_width(self) -> int:
        return self.embedding_size or self.hidden_size

    @property
    def score_scale(self) -> float:
        return float(self.attention_scale or self.head_dim**-0.5)
