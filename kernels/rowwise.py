"""Kernels that treat each row by itself: embedding, gate, rotary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.kernels.activations import activate


def embed(tables: Sequence[tuple[Tensor, Tensor]], dtype: torch.dtype) -> Tensor:
    """Sum of rows looked up in up to three tables, fp32 inside.

    Args:
        tables: (rows (num_rows, width), ids (tokens,) int32) of each.

    Returns:
        (tokens, width) of `dtype`.
    """
    (rows, ids), *more = tables
    width = rows.shape[1]
    out = torch.empty(len(ids), width, dtype=dtype, device=rows.device)
    second, third = [*more, (None, None), (None, None)][:2]
    embed_kernel[(len(ids),)](
        rows,
        ids,
        *second,
        *third,
        out,
        width,
        NUM_TABLES=len(tables),
        BLOCK=triton.next_power_of_2(width),
    )
    return out


@triton.jit
def embed_kernel(
    rows_0,
    ids_0,
    rows_1,
    ids_1,
    rows_2,
    ids_2,
    out,
    width,
    NUM_TABLES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    column_ok = column < width
    row = tl.load(ids_0 + token).to(tl.int64) * width
    total = tl.load(rows_0 + row + column, mask=column_ok, other=0.0).to(tl.float32)
    if NUM_TABLES > 1:
        row = tl.load(ids_1 + token).to(tl.int64) * width
        total += tl.load(rows_1 + row + column, mask=column_ok, other=0.0).to(tl.float32)
    if NUM_TABLES > 2:
        row = tl.load(ids_2 + token).to(tl.int64) * width
        total += tl.load(rows_2 + row + column, mask=column_ok, other=0.0).to(tl.float32)
    tl.store(out + token * width + column, total.to(out.dtype.element_ty), mask=column_ok)


def gate(x: Tensor, activation: str, activate_first: bool) -> Tensor:
    """Product of the column halves of x (rows, 2n), one of them activated: (rows, n)."""
    rows, width = len(x), x.shape[1] // 2
    out = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    block = min(1024, triton.next_power_of_2(width))
    gate_kernel[(rows, triton.cdiv(width, block))](
        x,
        out,
        width,
        x.stride(0),
        ACTIVATION=activation,
        ACTIVATE_FIRST=activate_first,
        BLOCK=block,
    )
    return out


@triton.jit
def gate_kernel(
    x,
    out,
    width,
    x_stride,
    ACTIVATION: tl.constexpr,
    ACTIVATE_FIRST: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    column_ok = column < width
    first = tl.load(x + row * x_stride + column, mask=column_ok, other=0.0).to(tl.float32)
    second = tl.load(x + row * x_stride + width + column, mask=column_ok, other=0.0).to(tl.float32)
    if ACTIVATE_FIRST:
        gated = activate(first, ACTIVATION, out.dtype.element_ty) * second
    else:
        gated = first * activate(second, ACTIVATION, out.dtype.element_ty)
    tl.store(out + row * width + column, gated.to(out.dtype.element_ty), mask=column_ok)


def rotary(x: Tensor, positions: Tensor, cosines: Tensor, sines: Tensor, num_heads: int) -> Tensor:
    """Rotary position embedding, halves rotated.

    Args:
        x: (tokens, width), any row stride.
        positions: (tokens,) int32, each token's place in its sequence.
        cosines, sines: (max_length, head_dim / 2) fp32.

    Returns:
        (tokens, width), contiguous.
    """
    rows, width = x.shape
    out = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    half = width // num_heads // 2
    rotary_kernel[(rows,)](
        x,
        positions,
        cosines,
        sines,
        out,
        num_heads,
        half,
        x.stride(0),
        BLOCK_HEADS=triton.next_power_of_2(num_heads),
        BLOCK_HALF=triton.next_power_of_2(half),
    )
    return out


@triton.jit
def rotary_kernel(
    x,
    positions,
    cosines,
    sines,
    out,
    num_heads,
    half,
    x_stride,
    BLOCK_HEADS: tl.constexpr,
    BLOCK_HALF: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK_HALF)
    angle = tl.load(positions + row).to(tl.int64) * half + place
    cosine = tl.load(cosines + angle, mask=place < half, other=0.0)[None, :]
    sine = tl.load(sines + angle, mask=place < half, other=0.0)[None, :]
    head = tl.arange(0, BLOCK_HEADS)
    ok = (head < num_heads)[:, None] & (place < half)[None, :]
    column = head[:, None] * 2 * half + place[None, :]
    first = tl.load(x + row * x_stride + column, mask=ok, other=0.0).to(tl.float32)
    second = tl.load(x + row * x_stride + column + half, mask=ok, other=0.0).to(tl.float32)
    start = out + row * num_heads * 2 * half
    kind = out.dtype.element_ty
    tl.store(start + column, (first * cosine - second * sine).to(kind), mask=ok)
    tl.store(start + column + half, (second * cosine + first * sine).to(kind), mask=ok)
