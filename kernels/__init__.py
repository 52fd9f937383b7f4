"""Triton kernels for GPUs, installed as `zen_fast.kernels`; never imported on the CPU path."""

from zen_fast.kernels.attention import QUERY_BLOCK, RelativeScores, attention
from zen_fast.kernels.linear import linear
from zen_fast.kernels.quantized import QuantizedWeight, quantize_rows, quantized_linear
from zen_fast.kernels.rowwise import embed, gate, layer_norm, rotary
from zen_fast.kernels.sequences import neighbours, pool

__all__ = [
    "QUERY_BLOCK",
    "QuantizedWeight",
    "RelativeScores",
    "attention",
    "embed",
    "gate",
    "layer_norm",
    "linear",
    "neighbours",
    "pool",
    "quantize_rows",
    "quantized_linear",
    "rotary",
]
