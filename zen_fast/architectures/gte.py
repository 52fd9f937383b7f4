"""GTE v1.5 and multilingual: as remote code ("new") and as transformers' own "gte".

Rotary post-norm encoder with a gated FFN (mGTE, arXiv 2407.19669). The remote code is never run.
"""

from __future__ import annotations

from dataclasses import replace

from zen_fast.architectures.architecture import Architecture, Naming
from zen_fast.architectures.rotary import inverse_frequencies, ntk_inverse_frequencies
from zen_fast.architectures.settings import Settings
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec


def _body_spec(settings: Settings, architecture: str, default_max_length: int) -> EncoderSpec:
    return EncoderSpec(
        architecture=architecture,
        vocab_size=settings.count("vocab_size", 250048),
        hidden_size=settings.count("hidden_size", 768),
        num_heads=settings.count("num_attention_heads", 12),
        intermediate_size=settings.count("intermediate_size", 3072),
        max_length=settings.count("max_position_embeddings", default_max_length),
        layers=(LayerSpec(),) * settings.count("num_hidden_layers", 12),
        head=HeadSpec(num_labels=settings.num_labels()),
        num_token_types=settings.integer("type_vocab_size", 1),
        norm_eps=settings.number("layer_norm_eps", 1e-12),
        activation=settings.activation("hidden_act", "gelu"),
        gate="activate_second",
        ffn_up_bias=False,
    )


def _gte_spec(settings: Settings) -> EncoderSpec:
    spec = _body_spec(settings, "gte", default_max_length=8192)
    settings.require("head_dim", spec.head_dim, spec.head_dim)
    rope = settings.nested("rope_parameters")
    rope_type = rope.text("rope_type", "default", ("default", "linear"))
    frequencies = inverse_frequencies(
        spec.head_dim,
        theta=rope.number("rope_theta", settings.number("rope_theta", 160_000.0)),
        divisor=_stretch(rope) if rope_type == "linear" else 1.0,
    )
    return replace(spec, layers=_rotary_layers(spec, frequencies))


def _new_spec(settings: Settings) -> EncoderSpec:
    settings.require("layer_norm_type", "layer_norm", "layer_norm")
    settings.require("position_embedding_type", "rope", "rope")
    settings.require("logn_attention_scale", False, False)
    spec = _body_spec(settings, "new", default_max_length=2048)
    return replace(spec, layers=_rotary_layers(spec, _new_frequencies(settings, spec.head_dim)))


def _new_frequencies(settings: Settings, head_dim: int) -> tuple[float, ...]:
    theta = settings.number("rope_theta", 10_000.0)
    scaling = settings.nested("rope_scaling")
    if not scaling.config:
        return inverse_frequencies(head_dim, theta)
    scaling.require("type", None, "ntk")
    mixed_b = scaling.number("mixed_b", 0.0) if scaling.config.get("mixed_b") is not None else None
    return ntk_inverse_frequencies(head_dim, theta, _stretch(scaling), mixed_b)


def _stretch(scaling: Settings) -> float:
    """How many times as long the context is made."""
    factor = scaling.number("factor", 0.0)
    if factor < 1:
        scaling.refuse("factor", "a number of at least 1")
    return factor


def _rotary_layers(spec: EncoderSpec, frequencies: tuple[float, ...]) -> tuple[LayerSpec, ...]:
    return tuple(replace(layer, rotary=frequencies) for layer in spec.layers)


_REMOTE_LAYER = "new.encoder.layer.*"
_NATIVE_LAYER = "new.layers.*"

_REMOTE_NAMING: Naming = {
    "embeddings.token": "new.embeddings.word_embeddings.weight",
    "embeddings.token_type": "new.embeddings.token_type_embeddings.weight",
    "embeddings.norm": "new.embeddings.LayerNorm",
    "layers.*.attention.qkv": f"{_REMOTE_LAYER}.attention.qkv_proj",
    "layers.*.attention.output": f"{_REMOTE_LAYER}.attention.o_proj",
    "layers.*.attention.norm": f"{_REMOTE_LAYER}.attn_ln",
    "layers.*.ffn.up": f"{_REMOTE_LAYER}.mlp.up_gate_proj",
    "layers.*.ffn.down": f"{_REMOTE_LAYER}.mlp.down_proj",
    "layers.*.ffn.norm": f"{_REMOTE_LAYER}.mlp_ln",
    "head.dense": "new.pooler.dense",
    "head.classifier": "classifier",
}

_UNPACKED_NAMING: Naming = {
    "layers.*.attention.qkv": (
        f"{_REMOTE_LAYER}.attention.q_proj",
        f"{_REMOTE_LAYER}.attention.k_proj",
        f"{_REMOTE_LAYER}.attention.v_proj",
    ),
}

_NATIVE_NAMING: Naming = {
    "layers.*.attention.qkv": (
        f"{_NATIVE_LAYER}.self_attn.q_proj",
        f"{_NATIVE_LAYER}.self_attn.k_proj",
        f"{_NATIVE_LAYER}.self_attn.v_proj",
    ),
    "layers.*.attention.output": f"{_NATIVE_LAYER}.self_attn.o_proj",
    "layers.*.attention.norm": f"{_NATIVE_LAYER}.post_attention_layernorm",
    "layers.*.ffn.up": (f"{_NATIVE_LAYER}.mlp.up_proj", f"{_NATIVE_LAYER}.mlp.gate_proj"),
    "layers.*.ffn.down": f"{_NATIVE_LAYER}.mlp.down_proj",
    "layers.*.ffn.norm": f"{_NATIVE_LAYER}.post_mlp_layernorm",
}

NEW = Architecture(
    encoder_spec=_new_spec,
    prefixes=("new.",),
    naming=_REMOTE_NAMING,
    other_namings=(_UNPACKED_NAMING,),
)

# transformers writes a native model under the remote code's names, and reads either.
GTE = Architecture(
    encoder_spec=_gte_spec,
    prefixes=("new.", "gte."),
    naming=_REMOTE_NAMING,
    other_namings=(_NATIVE_NAMING,),
)
