"""Tiles of a product: which one a program computes, and what becomes of its sums."""

from __future__ import annotations

import triton
import triton.language as tl

from zen_fast.kernels.activations import activate

_GROUP = tl.constexpr(8)


@triton.jit
def tile_of_program(rows, columns, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """(tile row, tile column): groups of tile rows, so that neighbours in time share operands."""
    tiles_m, tiles_n = tl.cdiv(rows, BLOCK_M), tl.cdiv(columns, BLOCK_N)
    program = tl.program_id(0)
    group = program // (_GROUP * tiles_n)
    first = group * _GROUP
    group_size = tl.minimum(tiles_m - first, _GROUP)
    within = program % (_GROUP * tiles_n)
    return first + within % group_size, within // group_size


@triton.jit
def finish_tile(
    sums,
    row,
    column,
    rows,
    columns,
    bias,
    residual,
    out,
    residual_stride,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
):
    """Store activation(sums + bias) + residual of a tile's rows and columns; fp32 sums."""
    if HAS_BIAS:
        sums += tl.load(bias + column, mask=column < columns, other=0.0)[None, :]
    result = activate(sums, ACTIVATION)
    place = row.to(tl.int64)[:, None]
    ok = (row < rows)[:, None] & (column < columns)[None, :]
    if HAS_RESIDUAL:
        residual_tile = residual + place * residual_stride + column[None, :]
        result += tl.load(residual_tile, mask=ok, other=0.0).to(tl.float32)
    tl.store(out + place * columns + column[None, :], result.to(out.dtype.element_ty), mask=ok)
