"""What an encoder is: the numbers and choices that one graph needs to compute any architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "gelu_tanh", "relu", "silu", "tanh"]
Pooling = Literal["first", "mean"]
NormPosition = Literal["pre", "post"]


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
    dense: bool = True
    dense_bias: bool = True
    activation: Activation | None = "tanh"
    norm: bool = False
    classifier: bool = True
    """False for a bi-encoder, whose pooled rows are the result."""
    classifier_bias: bool = True


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
    final_norm: bool = False
    attention_bias: bool = True
    attention_output_bias: bool = True
    attention_scale: float = 0.0
    """Factor on the attention scores; 0 stands for head_dim ** -0.5."""
    activation: Activation = "gelu"
    gate: Literal["none", "activate_first", "activate_second"] = "none"
    """Gated FFN: which half of the up-projection goes through the activation."""
    ffn_up_bias: bool = True
    ffn_down_bias: bool = True
    relative: RelativeAttentionSpec | None = None
    convolution: ConvolutionSpec | None = None

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def embedding_width(self) -> int:
        return self.embedding_size or self.hidden_size

    @property
    def score_scale(self) -> float:
        return float(self.attention_scale or self.head_dim**-0.5)
