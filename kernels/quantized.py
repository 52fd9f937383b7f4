"""INT8 matrix product: rows of activations as bytes with a step and a zero each, exact sums.

The arithmetic of `zen_fast.quantization`. Tensor cores multiply signed bytes, so a row's values,
0 to 255, are kept 128 lower.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.kernels.product import Dequantization, ProductConfig, eight_bit_config, product
from zen_fast.kernels.row_blocks import RowBlocks

_MIDPOINT = tl.constexpr(128.0)
_MAX_VALUE = tl.constexpr(255.0)
_SMALLEST_RANGE = tl.constexpr(1e-36)
# Added and taken away again, it leaves the nearest whole number, halves to even.
_ROUNDER = tl.constexpr(12582912.0)


@dataclass(frozen=True)
class QuantizedRows:
    """x ≈ steps * (values - zeros), row by row."""

    values: Tensor
    """(rows, width) int8"""
    steps: Tensor
    """(rows,) fp32"""
    zeros: Tensor
    """(rows,) fp32, whole numbers"""


@dataclass(frozen=True)
class QuantizedWeight:
    """W ≈ scales[:, None] * values."""

    values: Tensor
    """(out, in) int8, contiguous"""
    scales: Tensor
    """(out,) fp32"""
    sums: Tensor
    """(out,) int32, of each row of values"""


def quantize_rows(x: Tensor, input_scales: Tensor | None = None) -> QuantizedRows:
    """Each row of x (rows, width) as bytes, after its columns are multiplied by `input_scales`."""
    rows, width = x.shape
    values = torch.empty(rows, width, dtype=torch.int8, device=x.device)
    steps, zeros = torch.empty(2, rows, dtype=torch.float32, device=x.device)
    blocks = RowBlocks.of(width)
    quantize_rows_kernel[(triton.cdiv(rows, blocks.rows),)](
        x,
        input_scales,
        values,
        steps,
        zeros,
        rows,
        width,
        x.stride(0),
        HAS_INPUT_SCALES=input_scales is not None,
        ROWS=blocks.rows,
        BLOCK=blocks.columns,
        num_warps=blocks.num_warps,
    )
    return QuantizedRows(values, steps, zeros)


@triton.jit
def quantized_rows(x):
    """(bytes, steps, zeros) of rows in fp32, zeros where a row has ended."""
    # The range includes 0: what lies beyond the row's end changes nothing.
    low, high = tl.minimum(tl.min(x, 1), 0.0), tl.maximum(tl.max(x, 1), 0.0)
    span = high - low
    inverse = tl.where(span > _SMALLEST_RANGE, _MAX_VALUE / tl.maximum(span, _SMALLEST_RANGE), 0.0)
    zero = tl.floor(0.5 - low * inverse)
    rounded = (x * inverse[:, None] + _ROUNDER) - _ROUNDER
    value = tl.minimum(tl.maximum(rounded + zero[:, None], 0.0), _MAX_VALUE) - _MIDPOINT
    # Bytes cannot be NaN: a row with a value that is not finite gets a step that is not, either.
    poison = tl.sum(x * 0.0, 1)
    return value.to(tl.int8), span / _MAX_VALUE + poison, zero - _MIDPOINT


@triton.jit
def quantize_rows_kernel(
    x,
    input_scales,
    values,
    steps,
    zeros,
    rows,
    width,
    x_stride,
    HAS_INPUT_SCALES: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    row_ok, column_ok = row < rows, (column < width)[None, :]
    ok = row_ok[:, None] & column_ok
    scaled = tl.load(x + row[:, None] * x_stride + column[None, :], mask=ok, other=0.0)
    scaled = scaled.to(tl.float32)
    if HAS_INPUT_SCALES:
        scaled *= tl.load(input_scales + column[None, :], mask=column_ok, other=0.0)
    value, step, zero = quantized_rows(scaled)
    tl.store(values + row[:, None] * width + column[None, :], value, mask=ok)
    tl.store(steps + row, step, mask=row_ok)
    tl.store(zeros + row, zero, mask=row_ok)


def quantized_linear(
    x: QuantizedRows,
    weight: QuantizedWeight,
    dtype: torch.dtype,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    config: ProductConfig | None = None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual, (rows, out) of `dtype`; sums are exact integers."""
    return product(
        x.values,
        weight.values,
        dtype,
        config or eight_bit_config(len(x.values)),
        bias,
        activation,
        residual,
        Dequantization(x.steps, weight.scales, x.zeros, weight.sums),
    )
