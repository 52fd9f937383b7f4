"""The matrix product of every linear op: operands of 8, 16 or 32 bits, one epilogue.

A program computes a tile of the output, or one tile after the other. Operands whose rows are
aligned are read through tensor maps (the copy engine of Hopper), any others through pointers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from zen_fast.kernels.activations import activate

FLOAT8 = torch.float8_e4m3fn

TENSOR_MAPS = (9, 0)
"""The first compute capability that has them."""
_ALIGNMENT = 16


@dataclass(frozen=True)
class ProductConfig:
    """How one launch is cut: rows x columns of the output per tile, depth per step."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int
    in_turn: int = 0
    """Programs of a multiprocessor, which compute tile after tile; 0 for a program a tile."""
    parts: int = 1
    """1, 2 or 4: columns that the epilogue treats at a time; fewer need fewer registers."""
    max_registers: int | None = None
    """Of a thread where operands come by tensor maps, so that more programs fit side by side."""


EIGHT_BIT_CONFIGS = (
    ProductConfig(128, 128, 128, num_warps=8, num_stages=3, parts=4, max_registers=128),
    ProductConfig(64, 128, 128, num_warps=4, num_stages=3, parts=4),
    ProductConfig(16, 64, 128, num_warps=4, num_stages=3),
)
"""Of int8 and fp8, for ever fewer rows.

On an H100, with the first, 8,704 rows by 3072 -> 768 took 47 µs in int8; one program a
multiprocessor, for want of registers, 66 µs.
"""


def eight_bit_config(num_rows: int) -> ProductConfig:
    """The largest tiles that the rows fill."""
    fitting = (each for each in EIGHT_BIT_CONFIGS if num_rows >= each.block_m)
    return next(fitting, EIGHT_BIT_CONFIGS[-1])


@dataclass(frozen=True)
class Dequantization:
    """x weightᵀ = row_scales (sums - row_zeros column_sums) column_scales, all (rows,), (out,)."""

    row_scales: Tensor
    """fp32"""
    column_scales: Tensor
    """fp32"""
    row_zeros: Tensor | None = None
    """fp32, whole numbers"""
    column_sums: Tensor | None = None
    """int32"""


def product(
    x: Tensor,
    weight: Tensor,
    dtype: torch.dtype,
    config: ProductConfig,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    dequantization: Dequantization | None = None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual, summed in fp32, or exactly where x is int8.

    Args:
        x: (rows, in), any row stride.
        weight: (out, in), contiguous, of x's dtype.
        bias: (out,) fp32.
        residual: (rows, out) of `dtype`, any row stride.

    Returns:
        (rows, out) of `dtype`.
    """
    rows, depth = x.shape
    columns = len(weight)
    out = torch.empty(rows, columns, dtype=dtype, device=x.device)
    tiles = triton.cdiv(rows, config.block_m) * triton.cdiv(columns, config.block_n)
    programs = tiles
    if config.in_turn:
        programs = min(tiles, config.in_turn * _num_multiprocessors(x.device))
    described = _is_aligned(x) and _is_aligned(weight) and _has_tensor_maps(x.device)
    options = {"maxnreg": config.max_registers} if described and config.max_registers else {}
    scales = dequantization
    product_kernel[(programs,)](
        _described(x, config.block_m, config.block_k) if described else x,
        _described(weight, config.block_n, config.block_k) if described else weight,
        None if scales is None else scales.row_scales,
        None if scales is None else scales.row_zeros,
        None if scales is None else scales.column_scales,
        None if scales is None else scales.column_sums,
        bias,
        residual,
        out,
        rows,
        columns,
        depth,
        x.stride(0),
        0 if residual is None else residual.stride(0),
        OPERANDS={torch.int8: "int8", FLOAT8: "float8"}.get(x.dtype, "float"),
        DESCRIBED=described,
        HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None,
        ACTIVATION=activation or "none",
        EVEN_K=depth % config.block_k == 0,
        IN_TURN=config.in_turn > 0,
        PARTS=config.parts,
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_K=config.block_k,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
        **options,
    )
    return out


def _is_aligned(matrix: Tensor) -> bool:
    """Whether a tensor map can describe it."""
    row_bytes = matrix.stride(0) * matrix.element_size()
    return (
        matrix.stride(1) == 1
        and row_bytes % _ALIGNMENT == 0
        and matrix.data_ptr() % _ALIGNMENT == 0
    )


def _described(matrix: Tensor, block_rows: int, block_columns: int) -> Any:
    return TensorDescriptor.from_tensor(matrix, [block_rows, block_columns])


def _has_tensor_maps(device: torch.device) -> bool:
    """The interpreter has them, too."""
    return device.type == "cpu" or torch.cuda.get_device_capability(device) >= TENSOR_MAPS


def _num_multiprocessors(device: torch.device) -> int:
    if device.type == "cpu":
        return 1
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


@triton.jit
def product_kernel(
    x,
    weight,
    row_scales,
    row_zeros,
    column_scales,
    column_sums,
    bias,
    residual,
    out,
    rows,
    columns,
    depth,
    x_stride,
    residual_stride,
    OPERANDS: tl.constexpr,
    DESCRIBED: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EVEN_K: tl.constexpr,
    IN_TURN: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    tiles = tl.cdiv(rows, BLOCK_M) * tl.cdiv(columns, BLOCK_N)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=IN_TURN):
        first_row, first_column = corner_of_tile(tile, rows, columns, BLOCK_M, BLOCK_N)
        sums = tile_sums(
            x,
            weight,
            first_row,
            first_column,
            rows,
            columns,
            depth,
            x_stride,
            OPERANDS,
            DESCRIBED,
            EVEN_K,
            BLOCK_M,
            BLOCK_N,
            BLOCK_K,
        )
        parts = parts_of_tile(sums, PARTS)
        for index in tl.static_range(PARTS):
            finish_tile(
                parts[index],
                first_row,
                first_column + index * (BLOCK_N // PARTS),
                rows,
                columns,
                row_scales,
                row_zeros,
                column_scales,
                column_sums,
                bias,
                residual,
                out,
                residual_stride,
                OPERANDS,
                HAS_BIAS,
                HAS_RESIDUAL,
                ACTIVATION,
                BLOCK_M,
                BLOCK_N // PARTS,
            )


@triton.jit
def parts_of_tile(sums, PARTS: tl.constexpr):
    """The columns of a tile as a tuple of 1, 2 or 4 tiles."""
    rows: tl.constexpr = sums.shape[0]
    width: tl.constexpr = sums.shape[1] // PARTS
    if PARTS == 1:
        parts = (sums,)
    elif PARTS == 2:
        parts = tl.split(tl.permute(tl.reshape(sums, (rows, 2, width)), (0, 2, 1)))
    else:
        tl.static_assert(PARTS == 4)
        quarters = tl.permute(tl.reshape(sums, (rows, 2, 2, width)), (0, 3, 2, 1))
        left, right = tl.split(quarters)
        parts = tl.split(left) + tl.split(right)
    return parts


@triton.jit
def corner_of_tile(tile, rows, columns, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """(first row, first column): groups of tile rows, so that neighbours in time share operands."""
    tiles_m, tiles_n = tl.cdiv(rows, BLOCK_M), tl.cdiv(columns, BLOCK_N)
    largest_group = 8
    first = tile // (largest_group * tiles_n) * largest_group
    group = tl.minimum(tiles_m - first, largest_group)
    within = tile % (largest_group * tiles_n)
    return (first + within % group) * BLOCK_M, within // group * BLOCK_N


@triton.jit
def tile_sums(
    x,
    weight,
    first_row,
    first_column,
    rows,
    columns,
    depth,
    x_stride,
    OPERANDS: tl.constexpr,
    DESCRIBED: tl.constexpr,
    EVEN_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """(BLOCK_M, BLOCK_N) products of rows of x and of weight; int32 of int8, fp32 of others."""
    k = tl.arange(0, BLOCK_K)
    if not DESCRIBED:
        # Rows beyond the end read the last one: only the store needs a mask, the loads run free.
        row = tl.minimum(first_row + tl.arange(0, BLOCK_M), rows - 1)
        column = tl.minimum(first_column + tl.arange(0, BLOCK_N), columns - 1)
        x_tile = x + row.to(tl.int64)[:, None] * x_stride + k[None, :]
        weight_tile = weight + column[None, :] * depth + k[:, None]
    kind: tl.constexpr = tl.int32 if OPERANDS == "int8" else tl.float32
    zero: tl.constexpr = 0 if OPERANDS == "int8" else 0.0
    sums = tl.zeros((BLOCK_M, BLOCK_N), kind)
    for start in range(0, depth, BLOCK_K):
        if DESCRIBED:
            a = x.load([first_row, start])
            b = weight.load([first_column, start]).T
        elif EVEN_K:
            a = tl.load(x_tile)
            b = tl.load(weight_tile)
        else:
            a = tl.load(x_tile, mask=k[None, :] < depth - start, other=zero)
            b = tl.load(weight_tile, mask=k[:, None] < depth - start, other=zero)
        if OPERANDS == "int8":
            sums = tl.dot(a, b, sums, out_dtype=tl.int32)
        else:
            # Hopper's fp8 units keep 14 bits of a sum's mantissa: more than its operands are worth.
            sums = tl.dot(a, b, sums, input_precision="tf32x3")
        if not DESCRIBED:
            x_tile += BLOCK_K
            weight_tile += BLOCK_K
    return sums


@triton.jit
def finish_tile(
    sums,
    first_row,
    first_column,
    rows,
    columns,
    row_scales,
    row_zeros,
    column_scales,
    column_sums,
    bias,
    residual,
    out,
    residual_stride,
    OPERANDS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """Store activation(dequantized sums + bias) + residual of a tile."""
    row, column = first_row + tl.arange(0, BLOCK_M), first_column + tl.arange(0, BLOCK_N)
    row_ok, column_ok = row < rows, column < columns
    if OPERANDS == "int8":
        zero = tl.load(row_zeros + row, mask=row_ok, other=0.0).to(tl.int32)[:, None]
        sums -= zero * tl.load(column_sums + column, mask=column_ok, other=0)[None, :]
    result = sums.to(tl.float32)
    if OPERANDS != "float":
        scale = tl.load(row_scales + row, mask=row_ok, other=0.0)[:, None]
        result *= scale * tl.load(column_scales + column, mask=column_ok, other=0.0)[None, :]
    if HAS_BIAS:
        result += tl.load(bias + column, mask=column_ok, other=0.0)[None, :]
    result = activate(result, ACTIVATION, out.dtype.element_ty)
    ok = row_ok[:, None] & column_ok[None, :]
    # 64 bits for where the tile begins; within it 32 do, in half the registers.
    start = (first_row + tl.arange(0, 1)).to(tl.int64)[:, None]
    row_in_tile = tl.arange(0, BLOCK_M)[:, None]
    if HAS_RESIDUAL:
        residual_tile = residual + start * residual_stride
        residual_tile += row_in_tile * residual_stride + column[None, :]
        result += tl.load(residual_tile, mask=ok, other=0.0).to(tl.float32)
    out_tile = out + start * columns
    out_tile += row_in_tile * columns + column[None, :]
    tl.store(out_tile, result.to(out.dtype.element_ty), mask=ok)
