"""Architectures: table rows that turn a checkpoint's config and names into one encoder's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from zen_fast.architectures.architecture import Architecture
from zen_fast.architectures.bert import BERT, ELECTRA, ROBERTA
from zen_fast.architectures.deberta import DEBERTA_V2
from zen_fast.architectures.distilbert import DISTILBERT
from zen_fast.architectures.gte import GTE, NEW
from zen_fast.architectures.language_model import GEMMA, GEMMA2, LLAMA, MISTRAL, QWEN2, QWEN3
from zen_fast.architectures.modernbert import MODERNBERT
from zen_fast.architectures.settings import Settings
from zen_fast.architectures.t5 import MT5, T5
from zen_fast.errors import UnsupportedModelError
from zen_fast.quantization import SCHEME
from zen_fast.spec import EncoderSpec

__all__ = ["ARCHITECTURES", "Architecture", "architecture_of", "encoder_spec"]

ATTENTION_PATTERN = "attention_pattern"
"""Entry of config.json: "full", or what `EncoderSpec.query_independent` says."""
QUERY_INDEPENDENT = "query_independent"

ARCHITECTURES: dict[str, Architecture] = {
    "bert": BERT,
    "camembert": ROBERTA,
    "deberta-v2": DEBERTA_V2,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gte": GTE,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "modernbert": MODERNBERT,
    "mt5": MT5,
    "new": NEW,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "roberta": ROBERTA,
    "t5": T5,
    "xlm-roberta": ROBERTA,
}
"""Architecture of each `model_type` that config.json may name."""


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """The table row for a config.json.

    Raises:
        UnsupportedModelError: no row for its model_type.
    """
    model_type = config.get("model_type")
    if model_type not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"model_type {model_type!r} is not supported; accepted: {', '.join(ARCHITECTURES)}"
        )
    return ARCHITECTURES[model_type]


def encoder_spec(config: Mapping[str, Any]) -> EncoderSpec:
    """What the encoder of a config.json is.

    Raises:
        UnsupportedModelError: its model_type, or a setting that changes the mathematics, is not
            supported.
    """
    settings = Settings(config)
    settings.require("pruned_heads", {}, {})
    _require_known_quantization(config.get("quantization_config"))
    spec = architecture_of(config).encoder_spec(settings)
    if settings.text(ATTENTION_PATTERN, "full", ("full", QUERY_INDEPENDENT)) == QUERY_INDEPENDENT:
        spec = _query_independent(spec, settings)
    if not spec.head_width and spec.hidden_size % spec.num_heads:
        raise UnsupportedModelError(
            f"hidden size {spec.hidden_size} is not a multiple of the {spec.num_heads} heads"
        )
    if spec.num_kv_heads and spec.num_heads % spec.num_kv_heads:
        raise UnsupportedModelError(
            f"the {spec.num_heads} heads cannot be shared out among {spec.num_kv_heads} of keys"
        )
    if any(layer.rotary for layer in spec.layers) and spec.head_dim % 2:
        raise UnsupportedModelError(
            f"rotary embedding needs heads of even width; this model's are {spec.head_dim} wide"
        )
    return spec


def _query_independent(spec: EncoderSpec, settings: Settings) -> EncoderSpec:
    if spec.causal or spec.decoder or spec.relative or spec.convolution:
        settings.refuse(ATTENTION_PATTERN, f"'full' for a model of type {spec.architecture}")
    return replace(spec, query_independent=True, head=replace(spec.head, pooling="last"))


def _require_known_quantization(quantization: Any) -> None:
    if quantization is None:
        return
    scheme = quantization.get("scheme") if isinstance(quantization, dict) else None
    if scheme != SCHEME:
        raise UnsupportedModelError(
            f"config.json has quantization_config={quantization!r}; accepted: none, or what "
            f"`zen-fast quantize` of this release writes (scheme {SCHEME!r}); quantize the original"
        )
