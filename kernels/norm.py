"""LayerNorm and RMSNorm, which can also emit the 8-bit rows that the next product reads."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.kernels.float8 import Float8Matrix, scaled_float8_rows
from zen_fast.kernels.product import FLOAT8
from zen_fast.kernels.quantized import QuantizedRows, quantized_rows
from zen_fast.kernels.row_blocks import RowBlocks


def norm(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, centred: bool = True
) -> Tensor:
    """LayerNorm of each row of x (rows, width), any row stride; weight and bias (width,) fp32.

    Not `centred` it is RMSNorm (Zhang and Sennrich, NeurIPS 2019, arXiv 1910.07467).
    """
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    _launch(x, weight, bias, eps, out, centred=centred)
    return out


def norm_quantized(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, centred: bool = True
) -> tuple[Tensor, QuantizedRows]:
    """`norm`, and `quantize_rows` of its result: the same bits in one launch."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    values = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    steps, zeros = torch.empty(2, len(x), dtype=torch.float32, device=x.device)
    _launch(x, weight, bias, eps, out, "int8", values, steps, zeros, centred)
    return out, QuantizedRows(values, steps, zeros)


def norm_float8(
    x: Tensor, weight: Tensor, bias: Tensor | None, eps: float, centred: bool = True
) -> tuple[Tensor, Float8Matrix]:
    """`norm`, and `float8_rows` of its result: the same bits in one launch."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    values = torch.empty(x.shape, dtype=FLOAT8, device=x.device)
    steps = torch.empty(len(x), dtype=torch.float32, device=x.device)
    _launch(x, weight, bias, eps, out, "float8", values, steps, centred=centred)
    return out, Float8Matrix(values, steps)


def _launch(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    eps: float,
    out: Tensor,
    emit: str = "none",
    values: Tensor | None = None,
    steps: Tensor | None = None,
    zeros: Tensor | None = None,
    centred: bool = True,
) -> None:
    rows, width = x.shape
    blocks = RowBlocks.of(width)
    norm_kernel[(triton.cdiv(rows, blocks.rows),)](
        x,
        weight,
        bias,
        out,
        values,
        steps,
        zeros,
        rows,
        width,
        x.stride(0),
        eps,
        CENTRED=centred,
        HAS_BIAS=bias is not None,
        EMIT=emit,
        ROWS=blocks.rows,
        BLOCK=blocks.columns,
        num_warps=blocks.num_warps,
    )


@triton.jit
def norm_kernel(
    x,
    weight,
    bias,
    out,
    values_8,
    steps,
    zeros,
    rows,
    width,
    x_stride,
    eps,
    CENTRED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    EMIT: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, BLOCK)[None, :]
    row_ok, column_ok = row < rows, column < width
    ok = row_ok[:, None] & column_ok
    values = tl.load(x + row[:, None] * x_stride + column, mask=ok, other=0.0).to(tl.float32)
    if CENTRED:
        # Two passes, mean first: the one-pass variance cancels where |mean| >> deviation.
        values = tl.where(column_ok, values - (tl.sum(values, 1) / width)[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(values * values, 1) / width + eps)[:, None]
    normed = values * scale * tl.load(weight + column, mask=column_ok, other=0.0)
    if HAS_BIAS:
        normed += tl.load(bias + column, mask=column_ok, other=0.0)
    rounded = normed.to(out.dtype.element_ty)
    place = row[:, None] * width + column
    tl.store(out + place, rounded, mask=ok)
    if EMIT == "int8":
        value, step, zero = quantized_rows(rounded.to(tl.float32))
        tl.store(values_8 + place, value, mask=ok)
        tl.store(steps + row, step, mask=row_ok)
        tl.store(zeros + row, zero, mask=row_ok)
    elif EMIT == "float8":
        value, step = scaled_float8_rows(rounded.to(tl.float32))
        tl.store(values_8 + place, value.to(values_8.dtype.element_ty), mask=ok)
        tl.store(steps + row, step, mask=row_ok)
    else:
        tl.static_assert(EMIT == "none")
