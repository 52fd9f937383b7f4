"""Which tile of a matrix a program computes."""

from __future__ import annotations

import triton
import triton.language as tl

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
