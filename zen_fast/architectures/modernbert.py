"""ModernBERT: pre-norm, rotary, GeGLU, local and global attention (arXiv 2412.13663)."""

from __future__ import annotations

from collections.abc import Sequence

from zen_fast.architectures.architecture import Architecture
from zen_fast.architectures.rotary import inverse_frequencies
from zen_fast.architectures.settings import Settings
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec

_GLOBAL, _LOCAL = "full_attention", "sliding_attention"


def _modernbert_spec(settings: Settings) -> EncoderSpec:
    hidden_size = settings.count("hidden_size", 768)
    num_heads = settings.count("num_attention_heads", 12)
    attention_bias = settings.flag("attention_bias", False)
    mlp_bias = settings.flag("mlp_bias", False)
    pooling = settings.text("classifier_pooling", "cls", ("cls", "mean"))
    return EncoderSpec(
        architecture="modernbert",
        vocab_size=settings.count("vocab_size", 50368),
        hidden_size=hidden_size,
        num_heads=num_heads,
        intermediate_size=settings.count("intermediate_size", 1152),
        max_length=settings.count("max_position_embeddings", 8192),
        layers=_layers(settings, head_dim=hidden_size // num_heads),
        head=HeadSpec(
            num_labels=settings.num_labels(),
            pooling="first" if pooling == "cls" else "mean",
            dense_bias=settings.flag("classifier_bias", False),
            activation=settings.activation("classifier_activation", "gelu"),
            norm=True,
        ),
        norm_position="pre",
        norm_eps=settings.number("norm_eps", 1e-5),
        norm_bias=settings.flag("norm_bias", False),
        final_norm=True,
        attention_bias=attention_bias,
        attention_output_bias=attention_bias,
        activation=settings.activation("hidden_activation", "gelu"),
        gate="activate_first",
        ffn_up_bias=mlp_bias,
        ffn_down_bias=mlp_bias,
    )


def _layers(settings: Settings, head_dim: int) -> tuple[LayerSpec, ...]:
    window = settings.integer("local_attention", 128) // 2
    frequencies = {
        _GLOBAL: _frequencies(settings, _GLOBAL, "global_rope_theta", 160_000.0, head_dim),
        _LOCAL: _frequencies(settings, _LOCAL, "local_rope_theta", 10_000.0, head_dim),
    }
    return tuple(
        LayerSpec(
            window=window if layer_type == _LOCAL else None,
            rotary=frequencies[layer_type],
            attention_norm=index > 0,
        )
        for index, layer_type in enumerate(_layer_types(settings))
    )


def _layer_types(settings: Settings) -> Sequence[str]:
    num_layers = settings.count("num_hidden_layers", 22)
    layer_types = settings.config.get("layer_types")
    if layer_types is None:
        period = settings.count("global_attn_every_n_layers", 3)
        return [_LOCAL if index % period else _GLOBAL for index in range(num_layers)]
    if len(layer_types) != num_layers or not set(layer_types) <= {_GLOBAL, _LOCAL}:
        settings.refuse("layer_types", f"{num_layers} of {_GLOBAL!r} or {_LOCAL!r}")
    return list(layer_types)


def _frequencies(
    settings: Settings, layer_type: str, theta_name: str, default_theta: float, head_dim: int
) -> tuple[float, ...]:
    settings.require("rope_scaling", None, None)
    by_type = settings.nested("rope_parameters")
    if not set(by_type.config) <= {_GLOBAL, _LOCAL}:
        settings.refuse("rope_parameters", f"entries for {_GLOBAL!r} and {_LOCAL!r}")
    parameters = by_type.nested(layer_type)
    parameters.require("rope_type", "default", "default")
    theta = parameters.number("rope_theta", settings.number(theta_name, default_theta))
    return inverse_frequencies(head_dim, theta)


_LAYER = "model.layers.*"

MODERNBERT = Architecture(
    encoder_spec=_modernbert_spec,
    prefixes=("model.",),
    naming={
        "embeddings.token": "model.embeddings.tok_embeddings.weight",
        "embeddings.norm": "model.embeddings.norm",
        "layers.*.attention.qkv": f"{_LAYER}.attn.Wqkv",
        "layers.*.attention.output": f"{_LAYER}.attn.Wo",
        "layers.*.attention.norm": f"{_LAYER}.attn_norm",
        "layers.*.ffn.up": f"{_LAYER}.mlp.Wi",
        "layers.*.ffn.down": f"{_LAYER}.mlp.Wo",
        "layers.*.ffn.norm": f"{_LAYER}.mlp_norm",
        "final_norm": "model.final_norm",
        "head.dense": "head.dense",
        "head.norm": "head.norm",
        "head.classifier": "classifier",
    },
)
