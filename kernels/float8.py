"""FP8 (e4m3) matrix product: rows of activations and of weights in 8 bits, a step for each.

x ≈ steps[:, None] * values and W ≈ scales[:, None] * values, each row scaled so that its largest
value is the format's: Micikevicius et al., "FP8 Formats for Deep Learning" (arXiv 2209.05433).
Needs compute capability 8.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.kernels.product import (
    FLOAT8,
    Dequantization,
    ProductConfig,
    eight_bit_config,
    product,
)
from zen_fast.kernels.row_blocks import RowBlocks

CAPABILITY = (8, 9)
"""The first GPUs whose matrix units take it."""

_MAX_FLOAT8 = tl.constexpr(448.0)
_SMALLEST = tl.constexpr(1e-30)
_SMALLEST_NORMAL = tl.constexpr(2.0**-6)
# Added and taken away again, it leaves the nearest multiple of 2**-9, the format's smallest value.
_ROUNDER = tl.constexpr(24576.0)


@dataclass(frozen=True)
class Float8Matrix:
    """A matrix ≈ scales[:, None] * values."""

    values: Tensor
    """(rows, width) e4m3, contiguous"""
    scales: Tensor
    """(rows,) fp32"""


def float8_weight(weight: Tensor) -> Float8Matrix:
    """An (out, in) weight in 8 bits, a scale for each output channel."""
    largest = weight.float().abs().amax(dim=1)
    scales = largest.clamp_min(_SMALLEST.value) / _MAX_FLOAT8.value
    return Float8Matrix((weight.float() / scales[:, None]).to(FLOAT8), scales)


def float8_rows(x: Tensor) -> Float8Matrix:
    """Each row of x (rows, width) in 8 bits, any row stride."""
    rows, width = x.shape
    values = torch.empty(rows, width, dtype=FLOAT8, device=x.device)
    steps = torch.empty(rows, dtype=torch.float32, device=x.device)
    blocks = RowBlocks.of(width)
    float8_rows_kernel[(triton.cdiv(rows, blocks.rows),)](
        x,
        values,
        steps,
        rows,
        width,
        x.stride(0),
        ROWS=blocks.rows,
        BLOCK=blocks.columns,
        num_warps=blocks.num_warps,
    )
    return Float8Matrix(values, steps)


@triton.jit
def round_to_float8(x):
    """The e4m3 value next to x, ties to even, in fp32.

    The conversion has nothing left to round then: Triton's interpreter would not carry a mantissa
    that rounds up into the exponent.
    """
    bits = x.to(tl.int32, bitcast=True)
    to_even = (bits >> 20) & 1
    rounded = ((bits + 0x7FFFF + to_even) & -0x100000).to(tl.float32, bitcast=True)
    return tl.where(tl.abs(x) < _SMALLEST_NORMAL, (x + _ROUNDER) - _ROUNDER, rounded)


@triton.jit
def scaled_float8_rows(x):
    """(e4m3 values in fp32, steps) of rows in fp32, zeros where a row has ended."""
    largest = tl.maximum(tl.max(tl.abs(x), 1), _SMALLEST)
    scaled = x * (_MAX_FLOAT8 / largest[:, None])
    # The product may round beyond the largest value, which the conversion would make a NaN.
    scaled = round_to_float8(tl.minimum(tl.maximum(scaled, -_MAX_FLOAT8), _MAX_FLOAT8))
    # The clamp hides a value that is not finite; a step that is not finite, either, tells of it.
    poison = tl.sum(x * 0.0, 1)
    return scaled, largest / _MAX_FLOAT8 + poison


@triton.jit
def float8_rows_kernel(
    x, values, steps, rows, width, x_stride, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)
    ok = (row < rows)[:, None] & (column < width)[None, :]
    value = tl.load(x + row[:, None] * x_stride + column[None, :], mask=ok, other=0.0)
    value, step = scaled_float8_rows(value.to(tl.float32))
    target = values + row[:, None] * width + column[None, :]
    tl.store(target, value.to(values.dtype.element_ty), mask=ok)
    tl.store(steps + row, step, mask=row < rows)


def float8_linear(
    x: Float8Matrix,
    weight: Float8Matrix,
    dtype: torch.dtype,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    config: ProductConfig | None = None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual, (rows, out) of `dtype`; sums in fp32."""
    return product(
        x.values,
        weight.values,
        dtype,
        config or eight_bit_config(len(x.values)),
        bias,
        activation,
        residual,
        Dequantization(x.scales, weight.scales),
    )
