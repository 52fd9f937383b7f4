"""Kernels that know where sequences begin and end: pooling and neighbouring rows."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.spec import Pooling


def pool(x: Tensor, cu_seqlens: Tensor, pooling: Pooling) -> Tensor:
    """First row, last row, or mean of the rows, of each sequence: (tokens, ..) → (sequences, ..).

    Args:
        x: any row stride.
        cu_seqlens: (sequences + 1,) int32; the row of an empty sequence means nothing.
    """
    sequences, width = len(cu_seqlens) - 1, x.shape[1]
    out = torch.empty(sequences, width, dtype=x.dtype, device=x.device)
    block = min(256, triton.next_power_of_2(width))
    pool_kernel[(sequences, triton.cdiv(width, block))](
        x, cu_seqlens, out, len(x), width, x.stride(0), POOLING=pooling, BLOCK=block
    )
    return out


@triton.jit
def pool_kernel(
    x, cu_seqlens, out, rows, width, x_stride, POOLING: tl.constexpr, BLOCK: tl.constexpr
):
    sequence = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    column_ok = column < width
    begin = tl.load(cu_seqlens + sequence).to(tl.int64)
    end = tl.load(cu_seqlens + sequence + 1).to(tl.int64)
    kind = out.dtype.element_ty
    target = out + sequence.to(tl.int64) * width + column
    if POOLING == "mean":
        total = tl.zeros((BLOCK,), tl.float32)
        for row in range(begin, end):
            total += tl.load(x + row * x_stride + column, mask=column_ok, other=0.0).to(tl.float32)
        tl.store(target, (total / (end - begin)).to(kind), mask=column_ok)
    else:
        tl.static_assert(POOLING == "first" or POOLING == "last")
        row = tl.minimum(begin, rows - 1)  # beyond the batch's end lies no row
        if POOLING == "last":
            row = tl.maximum(end - 1, 0)
        tl.store(target, tl.load(x + row * x_stride + column, mask=column_ok), mask=column_ok)


def neighbours(x: Tensor, sequence_of_row: Tensor, count: int) -> Tensor:
    """Each row beside its neighbours, zeros outside the sequence: (rows, width) → (.., count *).

    Args:
        x: (rows, width), any row stride.
        sequence_of_row: (rows,) int32.
    """
    rows, width = x.shape
    out = torch.empty(rows, count * width, dtype=x.dtype, device=x.device)
    neighbours_kernel[(rows, count)](
        x,
        sequence_of_row,
        out,
        rows,
        width,
        x.stride(0),
        COUNT=count,
        BLOCK=triton.next_power_of_2(width),
    )
    return out


@triton.jit
def neighbours_kernel(
    x, sequence_of_row, out, rows, width, x_stride, COUNT: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    which = tl.program_id(1)
    neighbour = row + which - COUNT // 2
    read = tl.minimum(tl.maximum(neighbour, 0), rows - 1)
    same = tl.load(sequence_of_row + read) == tl.load(sequence_of_row + row)
    column = tl.arange(0, BLOCK)
    present = tl.where(same & (read == neighbour), width, 0)
    values = tl.load(x + read * x_stride + column, mask=column < present, other=0.0)
    tl.store(out + (row * COUNT + which) * width + column, values, mask=column < width)
