"""Language models: Llama, Mistral, Qwen2, Qwen3, Gemma and Gemma 2.

As a sequence classifier (`score` on the last token), or as a generative reranker, whose score is
what the model says of an answer such as "yes".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from zen_fast.architectures.architecture import Architecture, Naming
from zen_fast.architectures.rotary_scaling import read_rotary
from zen_fast.architectures.settings import Settings
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec

_FULL, _SLIDING = "full_attention", "sliding_attention"


def _llama_spec(settings: Settings) -> EncoderSpec:
    attention_bias = settings.flag("attention_bias", False)
    mlp_bias = settings.flag("mlp_bias", False)
    return replace(
        _body_spec(settings, "llama"),
        attention_bias=attention_bias,
        attention_output_bias=attention_bias,
        ffn_up_bias=mlp_bias,
        ffn_down_bias=mlp_bias,
    )


def _mistral_spec(settings: Settings) -> EncoderSpec:
    spec = _body_spec(settings, "mistral")
    return _windowed(
        spec, settings.optional_count("sliding_window", 4096), [True] * spec.num_layers
    )


def _qwen2_spec(settings: Settings) -> EncoderSpec:
    return replace(_qwen_windows(settings, _body_spec(settings, "qwen2")), attention_bias=True)


def _qwen3_spec(settings: Settings) -> EncoderSpec:
    attention_bias = settings.flag("attention_bias", False)
    return replace(
        _qwen_windows(settings, _body_spec(settings, "qwen3", head_width=128)),
        attention_bias=attention_bias,
        attention_output_bias=attention_bias,
        query_key_norm=True,
    )


def _gemma_spec(settings: Settings, scaled_width: float = 0.0) -> EncoderSpec:
    settings.require("use_bidirectional_attention", False, False)
    attention_bias = settings.flag("attention_bias", False)
    spec = _body_spec(settings, "gemma", head_width=256, scaled_width=scaled_width)
    # The first checkpoints say "gelu" and mean its tanh approximation.
    activation = settings.activation("hidden_act", "gelu_pytorch_tanh")
    return replace(
        spec,
        head=replace(spec.head, is_tied=settings.flag("tie_word_embeddings", True)),
        activation="gelu_tanh" if activation == "gelu" else activation,
        attention_bias=attention_bias,
        attention_output_bias=attention_bias,
        embedding_scale=spec.hidden_size**0.5,
    )


def _gemma2_spec(settings: Settings) -> EncoderSpec:
    spec = _gemma_spec(settings, settings.number("query_pre_attn_scalar", 256.0))
    window = settings.count("sliding_window", 4096)
    sliding = _sliding_layers(settings, [index % 2 == 0 for index in range(spec.num_layers)])
    cap = settings.optional_number("final_logit_softcapping", 30.0)
    head = spec.head
    if head.is_generative and cap:
        # cap * tanh(logit / cap) of the positive and the negative token, then their difference.
        head = replace(head, dense=True, dense_width=2, activation="tanh", logit_cap=cap)
    return replace(
        _windowed(spec, window, sliding),
        architecture="gemma2",
        head=head,
        norm_position="both",
        activation=settings.activation("hidden_activation", "gelu_pytorch_tanh"),
        attention_cap=settings.optional_number("attn_logit_softcapping", 50.0) or 0.0,
    )


def _qwen_windows(settings: Settings, spec: EncoderSpec) -> EncoderSpec:
    """The upper layers see a window, where the config says so."""
    window = None
    if settings.flag("use_sliding_window", False):
        window = settings.optional_count("sliding_window", 4096)
    lowest = settings.integer("max_window_layers", 28)
    upper = [window is not None and index >= lowest for index in range(spec.num_layers)]
    sliding = _sliding_layers(settings, upper)
    if window is None and any(sliding):
        settings.refuse("layer_types", f"{_FULL!r} alone where there is no sliding window")
    return _windowed(spec, window, sliding)


def _sliding_layers(settings: Settings, default: list[bool]) -> list[bool]:
    """Which layers see a window, by `layer_types` where the config has them."""
    layer_types = settings.config.get("layer_types")
    if layer_types is None:
        return default
    if len(layer_types) != len(default) or not set(layer_types) <= {_FULL, _SLIDING}:
        settings.refuse("layer_types", f"{len(default)} of {_FULL!r} or {_SLIDING!r}")
    return [layer_type == _SLIDING for layer_type in layer_types]


def _windowed(spec: EncoderSpec, window: int | None, sliding: Sequence[bool]) -> EncoderSpec:
    """`window` counts the token itself; a layer's distance does not."""
    distance = None if window is None else window - 1
    layers = (
        replace(layer, window=distance if slides else None)
        for layer, slides in zip(spec.layers, sliding, strict=True)
    )
    return replace(spec, layers=tuple(layers))


def _body_spec(
    settings: Settings, architecture: str, head_width: int = 0, scaled_width: float = 0.0
) -> EncoderSpec:
    """What all families share; `scaled_width` is what scores are scaled by instead of head_dim."""
    hidden_size = settings.count("hidden_size", 4096)
    num_heads = settings.count("num_attention_heads", 32)
    head_dim = settings.count("head_dim", head_width or max(hidden_size // num_heads, 1))
    rotary = read_rotary(settings, head_dim)
    layer = LayerSpec(rotary=rotary.inverse_frequencies)
    return EncoderSpec(
        architecture=architecture,
        vocab_size=settings.count("vocab_size", 32000),
        hidden_size=hidden_size,
        num_heads=num_heads,
        intermediate_size=settings.count("intermediate_size", 11008),
        max_length=settings.count("max_position_embeddings", 2048),
        layers=(layer,) * settings.count("num_hidden_layers", 32),
        head=_head_spec(settings),
        embedding_norm=False,
        norm_position="pre",
        norm_eps=settings.number("rms_norm_eps", 1e-6),
        norm_bias=False,
        norm_centred=False,
        final_norm=True,
        attention_bias=False,
        attention_output_bias=False,
        attention_scale=(scaled_width or head_dim) ** -0.5 * rotary.magnitude**2,
        causal=True,
        num_kv_heads=settings.count("num_key_value_heads", num_heads),
        head_width=head_dim,
        activation=settings.activation("hidden_act", "silu"),
        gate="activate_first",
        ffn_up_bias=False,
        ffn_down_bias=False,
    )


def _head_spec(settings: Settings) -> HeadSpec:
    names = settings.config.get("architectures") or ()
    is_generative = any(str(name).endswith("ForCausalLM") for name in names)
    return HeadSpec(
        num_labels=1 if is_generative else settings.num_labels(),
        pooling="last",
        dense=False,
        dense_bias=False,
        activation=None,
        classifier_bias=False,
        is_generative=is_generative,
        is_tied=settings.flag("tie_word_embeddings", False),
        skipped_id=None if is_generative else settings.config.get("pad_token_id"),
    )


_LAYER = "model.layers.*"

_NAMING: Naming = {
    "embeddings.token": "model.embed_tokens.weight",
    "layers.*.attention.norm": f"{_LAYER}.input_layernorm",
    "layers.*.attention.qkv": (
        f"{_LAYER}.self_attn.q_proj",
        f"{_LAYER}.self_attn.k_proj",
        f"{_LAYER}.self_attn.v_proj",
    ),
    "layers.*.attention.query_norm": f"{_LAYER}.self_attn.q_norm",
    "layers.*.attention.key_norm": f"{_LAYER}.self_attn.k_norm",
    "layers.*.attention.output": f"{_LAYER}.self_attn.o_proj",
    "layers.*.ffn.norm": f"{_LAYER}.post_attention_layernorm",
    "layers.*.ffn.up": (f"{_LAYER}.mlp.gate_proj", f"{_LAYER}.mlp.up_proj"),
    "layers.*.ffn.down": f"{_LAYER}.mlp.down_proj",
    "final_norm": "model.norm",
    "head.classifier": "score",
}

_OUTPUT_NORMS: Naming = {
    "layers.*.attention.output_norm": f"{_LAYER}.post_attention_layernorm",
    "layers.*.ffn.norm": f"{_LAYER}.pre_feedforward_layernorm",
    "layers.*.ffn.output_norm": f"{_LAYER}.post_feedforward_layernorm",
}


LLAMA = Architecture(
    encoder_spec=_llama_spec,
    prefixes=("model.",),
    naming=_NAMING,
    ignorable=(r"layers\.\d+\.self_attn\.rotary_emb\.inv_freq",),
    output_embedding="lm_head.weight",
)
MISTRAL = replace(LLAMA, encoder_spec=_mistral_spec)
QWEN2 = replace(LLAMA, encoder_spec=_qwen2_spec)
QWEN3 = replace(LLAMA, encoder_spec=_qwen3_spec)
GEMMA = replace(LLAMA, encoder_spec=_gemma_spec, norm_offset=1.0)
GEMMA2 = replace(GEMMA, encoder_spec=_gemma2_spec, naming={**_NAMING, **_OUTPUT_NORMS})
