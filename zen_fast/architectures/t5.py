"""T5 and mT5 (Raffel et al., JMLR 2020; Xue et al., NAACL 2021), as generative rerankers.

The encoder reads the prompt, and the decoder takes one step towards its answer (Nogueira et al.,
Findings of EMNLP 2020, arXiv 2003.06713).
"""

from __future__ import annotations

from dataclasses import replace

from zen_fast.architectures.architecture import Architecture, Naming
from zen_fast.architectures.settings import Settings
from zen_fast.spec import DecoderSpec, EncoderSpec, HeadSpec, LayerSpec, PositionBiasSpec

_FEED_FORWARDS = ("relu", "gated-gelu")


def _t5_spec(settings: Settings) -> EncoderSpec:
    is_scaled = settings.flag("tie_word_embeddings", True)
    return _spec(settings, settings.flag("scale_decoder_outputs", is_scaled), "relu")


def _mt5_spec(settings: Settings) -> EncoderSpec:
    return replace(_spec(settings, False, "gated-gelu"), architecture="mt5")


def _spec(settings: Settings, is_scaled: bool, feed_forward: str) -> EncoderSpec:
    names = settings.config.get("architectures") or ()
    if not any(str(name).endswith("ForConditionalGeneration") for name in names):
        settings.refuse("architectures", "a class that ends in ForConditionalGeneration")
    hidden_size = settings.count("d_model", 512)
    num_layers = settings.count("num_layers", 6)
    feed_forward = settings.text("feed_forward_proj", feed_forward, _FEED_FORWARDS)
    vocab_size = settings.count("vocab_size", 32128)
    start_id = settings.integer("decoder_start_token_id", settings.integer("pad_token_id", 0))
    if not 0 <= start_id < vocab_size:
        settings.refuse("decoder_start_token_id", f"a token id below {vocab_size}")
    return EncoderSpec(
        architecture="t5",
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        num_heads=settings.count("num_heads", 8),
        intermediate_size=settings.count("d_ff", 2048),
        max_length=settings.count("n_positions", 512),
        layers=(LayerSpec(),) * num_layers,
        head=HeadSpec(
            num_labels=1,
            pooling="mean",
            dense=False,
            activation=None,
            classifier_bias=False,
            is_generative=True,
            is_tied=True,  # where a checkpoint has no output rows of its own
            logit_scale=hidden_size**-0.5 if is_scaled else 1.0,
        ),
        embedding_norm=False,
        norm_position="pre",
        norm_eps=settings.number("layer_norm_epsilon", 1e-6),
        norm_bias=False,
        norm_centred=False,
        final_norm=True,
        attention_bias=False,
        attention_output_bias=False,
        attention_scale=1.0,
        head_width=settings.count("d_kv", 64),
        activation="relu" if feed_forward == "relu" else "gelu_tanh",
        gate="activate_first" if feed_forward.startswith("gated-") else "none",
        ffn_up_bias=False,
        ffn_down_bias=False,
        position_bias=_position_bias(settings),
        decoder=DecoderSpec(settings.count("num_decoder_layers", num_layers), start_id),
    )


def _position_bias(settings: Settings) -> PositionBiasSpec:
    num_buckets = settings.count("relative_attention_num_buckets", 32)
    max_distance = settings.count("relative_attention_max_distance", 128)
    if num_buckets < 4:
        settings.refuse("relative_attention_num_buckets", "a whole number of at least 4")
    if max_distance <= num_buckets // 4:
        settings.refuse("relative_attention_max_distance", f"more than {num_buckets // 4}")
    return PositionBiasSpec(num_buckets, max_distance)


_ENCODER, _DECODER = "encoder.block.*.layer", "decoder.block.*.layer"
_SELF, _CROSS, _FFN = "SelfAttention", "EncDecAttention", "DenseReluDense"

_NAMING: Naming = {
    "embeddings.token": "shared.weight",
    "position_bias": f"encoder.block.0.layer.0.{_SELF}.relative_attention_bias.weight",
    "layers.*.attention.norm": f"{_ENCODER}.0.layer_norm",
    "layers.*.attention.qkv": tuple(f"{_ENCODER}.0.{_SELF}.{part}" for part in "qkv"),
    "layers.*.attention.output": f"{_ENCODER}.0.{_SELF}.o",
    "layers.*.ffn.norm": f"{_ENCODER}.1.layer_norm",
    "layers.*.ffn.up": (f"{_ENCODER}.1.{_FFN}.wi_0", f"{_ENCODER}.1.{_FFN}.wi_1"),
    "layers.*.ffn.down": f"{_ENCODER}.1.{_FFN}.wo",
    "final_norm": "encoder.final_layer_norm",
    "decoder.layers.*.self_attention.norm": f"{_DECODER}.0.layer_norm",
    "decoder.layers.*.self_attention.value": f"{_DECODER}.0.{_SELF}.v",
    "decoder.layers.*.self_attention.output": f"{_DECODER}.0.{_SELF}.o",
    "decoder.layers.*.cross_attention.norm": f"{_DECODER}.1.layer_norm",
    "decoder.layers.*.cross_attention.query": f"{_DECODER}.1.{_CROSS}.q",
    "decoder.layers.*.cross_attention.key_value": (
        f"{_DECODER}.1.{_CROSS}.k",
        f"{_DECODER}.1.{_CROSS}.v",
    ),
    "decoder.layers.*.cross_attention.output": f"{_DECODER}.1.{_CROSS}.o",
    "decoder.layers.*.ffn.norm": f"{_DECODER}.2.layer_norm",
    "decoder.layers.*.ffn.up": (f"{_DECODER}.2.{_FFN}.wi_0", f"{_DECODER}.2.{_FFN}.wi_1"),
    "decoder.layers.*.ffn.down": f"{_DECODER}.2.{_FFN}.wo",
    "decoder.final_norm": "decoder.final_layer_norm",
}

_UNGATED: Naming = {
    "layers.*.ffn.up": f"{_ENCODER}.1.{_FFN}.wi",
    "decoder.layers.*.ffn.up": f"{_DECODER}.2.{_FFN}.wi",
}

T5 = Architecture(
    encoder_spec=_t5_spec,
    prefixes=("",),
    naming=_NAMING,
    other_namings=(_UNGATED,),
    # Copies of the shared table, and what no decoder of a single token reads.
    ignorable=(
        r"(encoder|decoder)\.embed_tokens\.weight",
        rf"decoder\.block\.\d+\.layer\.0\.{_SELF}\.(q|k|relative_attention_bias)\.weight",
        rf"decoder\.block\.0\.layer\.1\.{_CROSS}\.relative_attention_bias\.weight",
    ),
    output_embedding="lm_head.weight",
)
MT5 = replace(T5, encoder_spec=_mt5_spec)
