"""Triton kernels for GPUs, installed as `zen_fast.kernels`; never imported on the CPU path."""

from zen_fast.kernels.attention import QUERY_BLOCK, RelativeScores, SharedPrefix, attention
from zen_fast.kernels.float8 import Float8Matrix, float8_linear, float8_rows, float8_weight
from zen_fast.kernels.linear import linear
from zen_fast.kernels.norm import norm, norm_float8, norm_quantized
from zen_fast.kernels.quantized import (
    QuantizedRows,
    QuantizedWeight,
    quantize_rows,
    quantized_linear,
)
from zen_fast.kernels.rowwise import embed, gate, rotary
from zen_fast.kernels.sequences import neighbours, pool

__all__ = [
    "QUERY_BLOCK",
    "Float8Matrix",
    "QuantizedRows",
    "QuantizedWeight",
    "RelativeScores",
    "SharedPrefix",
    "attention",
    "embed",
    "float8_linear",
    "float8_rows",
    "float8_weight",
    "gate",
    "linear",
    "neighbours",
    "norm",
    "norm_float8",
    "norm_quantized",
    "pool",
    "quantize_rows",
    "quantized_linear",
    "rotary",
]
