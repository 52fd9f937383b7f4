"""INT8: weights symmetric per output channel, activations dynamic per token.

A weight is 7 bits wide, so that two of its products with a byte never leave 16 bits: that is what
AVX2 multiplies with, and one scheme for every instruction set gives one score everywhere. What
reads activations keeps all 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from zen_fast.errors import CheckpointError, UnsupportedDeviceError
from zen_fast.second_order import round_columns
from zen_fast.spec import EncoderSpec
from zen_fast.weights import (
    EMBEDDING_TABLES,
    INPUT_SCALES,
    SCALES,
    Array,
    QuantizedMatrix,
    Weights,
    beside,
    is_quantizable,
    is_smoothed,
    layer_of,
)

SCHEME = "w7-per-channel a8-per-token"
"""Written into a quantized checkpoint; another arithmetic must get another name."""

MAX_QUANTIZED = 63
"""Largest magnitude of a quantized weight."""

MAX_QUANTIZED_ACTIVATION = 255

_SMALLEST_SCALE = 1e-36
"""Rows of smaller weights are zeros: the inverse of a scale must be finite."""


def quantize_matrix(
    weight: Array, smooth: bool = False, moments: Array | None = None
) -> QuantizedMatrix:
    """Round an (out, in) weight to 7 bits, one scale per output channel.

    Args:
        smooth: share out the range of each input channel between weight and activation, by the
            root of the channel's largest weight, as SmoothQuant does (Xiao et al., ICML 2023,
            arXiv 2211.10438) but from the weights alone.
        moments: (in, in) of the rows that it will be multiplied with (`input_moments`), for which
            it is rounded then; None rounds each weight to the nearest step.
    """
    weight = weight.astype(np.float32)
    input_scales = _input_scales(weight) if smooth else None
    if input_scales is not None:
        weight = weight / input_scales
    scales = np.abs(weight).max(axis=1, initial=0.0) / np.float32(MAX_QUANTIZED)
    scales[scales < _SMALLEST_SCALE] = 0.0
    inverse = np.divide(1.0, scales, where=scales > 0, out=np.zeros_like(scales))
    steps = weight * inverse[:, None]
    if moments is None:
        values = np.rint(steps).clip(-MAX_QUANTIZED, MAX_QUANTIZED)
    else:
        if input_scales is not None:
            moments = moments * np.outer(input_scales, input_scales)
        values = round_columns(steps, moments, MAX_QUANTIZED)
    return QuantizedMatrix(values.astype(np.int8), scales, input_scales)


def _input_scales(weight: Array) -> Array:
    """(in,) roots of each channel's largest weight, of geometric mean 1 where they are not 0."""
    largest = np.abs(weight).max(axis=0, initial=0.0)
    used = largest > 0
    if not used.any():
        return np.ones_like(largest)
    typical = np.exp(np.log(largest[used]).mean())
    scales: Array = np.sqrt(np.where(used, largest / typical, 1.0)).astype(np.float32)
    return scales


def quantize_weights(
    weights: Weights,
    spec: EncoderSpec,
    kept_layers: Collection[int] = (),
    moments: Mapping[str, Array] | None = None,
) -> Weights:
    """Quantize the layers' projections; embeddings that fit become fp16, all else stays fp32.

    Args:
        spec: of the encoder that the weights are for.
        kept_layers: layers that stay in fp32, see `sensitive_layers`.
        moments: of what each projection reads, by its weight's name, see `input_moments`; without
            them weights are rounded to the nearest.

    The last feed-forward part's output projection stays in fp32 if it has one row of each sequence
    to work on: its input is what 8 bits hold worst, and so few rows cost nothing. A measured
    sixth of the noise in zen-mini's logits.

    Only `is_smoothed` weights are smoothed. They read what no norm has levelled, and a few of their
    input channels have large weights: a measured quarter less noise in zen-mini's logits. Where a
    norm comes before, smoothing by its weight made the noise larger.

    Raises:
        CheckpointError: a projection holds an infinity or a NaN.
    """
    tensors = dict(weights)
    kept = f"layers.{spec.num_layers - 1}.ffn.down.weight" if spec.last_layer_is_pooled else None
    for name in filter(is_quantizable, weights):
        if name == kept or layer_of(name) in kept_layers:
            continue
        if not np.isfinite(weights[name]).all():
            raise CheckpointError(
                f"{name} holds values that are not finite, which int8 cannot stand for; choose "
                "precision='fp32' or a sound checkpoint"
            )
        matrix = quantize_matrix(
            weights[name], is_smoothed(name), moments.get(name) if moments else None
        )
        tensors[name] = matrix.values
        tensors[beside(name, SCALES)] = matrix.scales
        if matrix.input_scales is not None:
            tensors[beside(name, INPUT_SCALES)] = matrix.input_scales
    for name in EMBEDDING_TABLES:
        if name in tensors and np.abs(tensors[name]).max(initial=0.0) <= np.finfo(np.float16).max:
            tensors[name] = tensors[name].astype(np.float16, copy=False)
    return Weights(tensors, weights.norm_eps, weights.norm_centred)


def at_precision(
    weights: Weights,
    spec: EncoderSpec,
    precision: str,
    kept_layers: Callable[[], Collection[int]] = tuple,
) -> Weights:
    """The weights for `precision`: "auto" (as stored), "int8", or one that a backend computes in.

    Args:
        spec: of the encoder that the weights are for.
        kept_layers: tells which layers stay in fp32, asked if weights are quantized here.

    Raises:
        UnsupportedDeviceError: floating point is asked of a checkpoint that was quantized.
    """
    if precision not in ("auto", "int8") and weights.is_quantized:
        raise UnsupportedDeviceError(
            f"precision={precision!r}, but the checkpoint is int8; load the model it was made "
            "from, or leave precision at 'auto'"
        )
    if precision != "int8" or weights.is_quantized:
        return weights
    return quantize_weights(weights, spec, kept_layers())
