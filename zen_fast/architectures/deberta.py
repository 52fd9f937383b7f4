"""DeBERTa-v2 and DeBERTa-v3: disentangled attention (arXiv 2006.03654, arXiv 2111.09543)."""

from __future__ import annotations

from zen_fast.architectures.architecture import Architecture
from zen_fast.architectures.settings import Settings
from zen_fast.spec import (
    ConvolutionSpec,
    EncoderSpec,
    HeadSpec,
    LayerSpec,
    RelativeAttentionSpec,
)


def _deberta_spec(settings: Settings) -> EncoderSpec:
    hidden_size = settings.count("hidden_size", 1536)
    num_heads = settings.count("num_attention_heads", 24)
    head_dim = hidden_size // num_heads
    settings.require("attention_head_size", head_dim, head_dim)
    settings.require("pooler_hidden_size", hidden_size, hidden_size)
    max_length = settings.count("max_position_embeddings", 512)
    terms = _position_terms(settings)
    return EncoderSpec(
        architecture="deberta-v2",
        vocab_size=settings.count("vocab_size", 128100),
        hidden_size=hidden_size,
        num_heads=num_heads,
        intermediate_size=settings.count("intermediate_size", 6144),
        max_length=max_length,
        layers=(LayerSpec(),) * settings.count("num_hidden_layers", 24),
        head=HeadSpec(
            num_labels=settings.num_labels(),
            activation=settings.activation("pooler_hidden_act", "gelu"),
        ),
        embedding_size=settings.count("embedding_size", hidden_size),
        embedding_projection_bias=False,
        embedding_projection_first=True,
        num_token_types=settings.integer("type_vocab_size", 0),
        num_positions=max_length if settings.flag("position_biased_input", True) else 0,
        norm_eps=settings.number("layer_norm_eps", 1e-7),
        attention_scale=(head_dim * (1 + len(terms))) ** -0.5,
        activation=settings.activation("hidden_act", "gelu"),
        relative=_relative_attention(settings, terms, max_length),
        convolution=_convolution(settings),
    )


def _position_terms(settings: Settings) -> set[str]:
    value = settings.config.get("pos_att_type") or []
    terms = value.lower().split("|") if isinstance(value, str) else value
    terms = {term.strip() for term in terms}
    if not terms <= {"c2p", "p2c"}:
        settings.refuse("pos_att_type", "'c2p', 'p2c', both or none")
    return terms


def _relative_attention(
    settings: Settings, terms: set[str], max_length: int
) -> RelativeAttentionSpec | None:
    table_norms = str(settings.config.get("norm_rel_ebd") or "none").lower().split("|")
    table_norm = "layer_norm" in [name.strip() for name in table_norms]
    if not settings.flag("relative_attention", False) or not terms:
        return None
    max_distance = settings.integer("max_relative_positions", -1)
    if max_distance < 1:
        max_distance = max_length
    position_buckets = settings.integer("position_buckets", -1)
    if position_buckets > 0 and not 1 <= position_buckets // 2 < max_distance - 1:
        settings.refuse("position_buckets", f"2 to {2 * max_distance - 3}, or -1 for none")
    return RelativeAttentionSpec(
        num_buckets=position_buckets if position_buckets > 0 else max_distance,
        log_buckets=position_buckets > 0,
        max_distance=max_distance,
        content_to_position="c2p" in terms,
        position_to_content="p2c" in terms,
        shares_projections=settings.flag("share_att_key", False),
        table_norm=table_norm,
    )


def _convolution(settings: Settings) -> ConvolutionSpec | None:
    kernel_size = settings.integer("conv_kernel_size", 0)
    if kernel_size <= 0:
        return None
    if kernel_size % 2 == 0:
        settings.refuse("conv_kernel_size", "an odd number, or 0 for none")
    settings.require("conv_groups", 1, 1)
    return ConvolutionSpec(kernel_size, settings.activation("conv_act", "tanh"))


_LAYER = "deberta.encoder.layer.*"
_ATTENTION = f"{_LAYER}.attention.self"

DEBERTA_V2 = Architecture(
    encoder_spec=_deberta_spec,
    prefixes=("deberta.",),
    naming={
        "embeddings.token": "deberta.embeddings.word_embeddings.weight",
        "embeddings.position": "deberta.embeddings.position_embeddings.weight",
        "embeddings.token_type": "deberta.embeddings.token_type_embeddings.weight",
        "embeddings.projection": "deberta.embeddings.embed_proj",
        "embeddings.norm": "deberta.embeddings.LayerNorm",
        "layers.*.attention.qkv": (
            f"{_ATTENTION}.query_proj",
            f"{_ATTENTION}.key_proj",
            f"{_ATTENTION}.value_proj",
        ),
        "layers.*.attention.relative_key": f"{_ATTENTION}.pos_key_proj",
        "layers.*.attention.relative_query": f"{_ATTENTION}.pos_query_proj",
        "layers.*.attention.output": f"{_LAYER}.attention.output.dense",
        "layers.*.attention.norm": f"{_LAYER}.attention.output.LayerNorm",
        "layers.*.ffn.up": f"{_LAYER}.intermediate.dense",
        "layers.*.ffn.down": f"{_LAYER}.output.dense",
        "layers.*.ffn.norm": f"{_LAYER}.output.LayerNorm",
        "relative.table": "deberta.encoder.rel_embeddings.weight",
        "relative.norm": "deberta.encoder.LayerNorm",
        "convolution.weight": "deberta.encoder.conv.conv.weight",
        "convolution.bias": "deberta.encoder.conv.conv.bias",
        "convolution.norm": "deberta.encoder.conv.LayerNorm",
        "head.dense": "pooler.dense",
        "head.classifier": "classifier",
    },
    # Checkpoints keep tables that position_biased_input, relative_attention or pos_att_type
    # switch off.
    ignorable=(
        r"embeddings\.position_embeddings\.weight",
        r"encoder\.rel_embeddings\.weight",
        r"encoder\.LayerNorm\.(weight|bias)",
    ),
)
