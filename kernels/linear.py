"""Matrix product with a fused epilogue: activation(x Wᵀ + b) + residual."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.kernels.tiles import finish_tile, tile_of_program


@dataclass(frozen=True)
class LinearConfig:
    """How one launch is cut: rows x columns of the output per program, depth per step."""

    block_m: int
    block_n: int
    block_k: int
    num_warps: int
    num_stages: int


HALF_CONFIGS = (
    LinearConfig(128, 128, 64, num_warps=8, num_stages=3),
    LinearConfig(64, 128, 64, num_warps=4, num_stages=3),
    LinearConfig(64, 64, 64, num_warps=4, num_stages=3),
    LinearConfig(16, 64, 64, num_warps=4, num_stages=3),
)
"""Of fp16 and bf16, for ever fewer rows."""

FP32_CONFIGS = (
    LinearConfig(64, 64, 32, num_warps=8, num_stages=2),
    LinearConfig(16, 64, 32, num_warps=4, num_stages=2),
)
"""Products in three TF32 parts, which take three times the registers."""


_MANY_TILES = 132
"""A program for every multiprocessor of an H100 or H200."""


def choose_config(num_rows: int, num_columns: int, dtype: torch.dtype) -> LinearConfig:
    """The largest tiles that still give every multiprocessor of a large GPU a program."""
    configs = FP32_CONFIGS if dtype == torch.float32 else HALF_CONFIGS
    for config in configs[:-1]:
        tiles = triton.cdiv(num_rows, config.block_m) * triton.cdiv(num_columns, config.block_n)
        if num_rows >= config.block_m and tiles >= _MANY_TILES:
            return config
    return configs[-2] if num_rows > configs[-1].block_m else configs[-1]


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
    config: LinearConfig | None = None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual, summed in fp32.

    Args:
        x: (rows, in), any row stride.
        weight: (out, in), contiguous, of x's dtype.
        bias: (out,) fp32.
        residual: (rows, out) of x's dtype, any row stride.

    Returns:
        (rows, out) of x's dtype.
    """
    rows, depth = x.shape
    columns = len(weight)
    out = torch.empty(rows, columns, dtype=x.dtype, device=x.device)
    config = config or choose_config(rows, columns, x.dtype)
    programs = triton.cdiv(rows, config.block_m) * triton.cdiv(columns, config.block_n)
    linear_kernel[(programs,)](
        x,
        weight,
        bias,
        residual,
        out,
        rows,
        columns,
        depth,
        x.stride(0),
        0 if residual is None else residual.stride(0),
        HAS_BIAS=bias is not None,
        HAS_RESIDUAL=residual is not None,
        ACTIVATION=activation or "none",
        EVEN_K=depth % config.block_k == 0,
        BLOCK_M=config.block_m,
        BLOCK_N=config.block_n,
        BLOCK_K=config.block_k,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
    )
    return out


@triton.jit
def linear_kernel(
    x,
    weight,
    bias,
    residual,
    out,
    rows,
    columns,
    depth,
    x_stride,
    residual_stride,
    HAS_BIAS: tl.constexpr,
    HAS_RESIDUAL: tl.constexpr,
    ACTIVATION: tl.constexpr,
    EVEN_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    tile_m, tile_n = tile_of_program(rows, columns, BLOCK_M, BLOCK_N)
    row = tile_m * BLOCK_M + tl.arange(0, BLOCK_M)
    column = tile_n * BLOCK_N + tl.arange(0, BLOCK_N)
    k = tl.arange(0, BLOCK_K)
    # Rows beyond the end read the last one: only the store needs a mask, the loads run free.
    x_tile = x + tl.minimum(row, rows - 1).to(tl.int64)[:, None] * x_stride + k[None, :]
    weight_tile = weight + tl.minimum(column, columns - 1)[None, :] * depth + k[:, None]

    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, depth, BLOCK_K):
        if EVEN_K:
            a = tl.load(x_tile)
            b = tl.load(weight_tile)
        else:
            a = tl.load(x_tile, mask=k[None, :] < depth - start, other=0.0)
            b = tl.load(weight_tile, mask=k[:, None] < depth - start, other=0.0)
        total = tl.dot(a, b, total, input_precision="tf32x3")
        x_tile += BLOCK_K
        weight_tile += BLOCK_K

    finish_tile(
        total,
        row,
        column,
        rows,
        columns,
        bias,
        residual,
        out,
        residual_stride,
        HAS_BIAS,
        HAS_RESIDUAL,
        ACTIVATION,
    )
