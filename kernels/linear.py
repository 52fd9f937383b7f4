"""The linear op in 16 or 32 bits: activation(x Wᵀ + b) + residual."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from zen_fast.kernels.product import ProductConfig, product

HALF_CONFIGS = (
    ProductConfig(128, 128, 64, num_warps=8, num_stages=3, in_turn=2, parts=2, max_registers=128),
    ProductConfig(64, 128, 64, num_warps=4, num_stages=3),
    ProductConfig(64, 64, 64, num_warps=4, num_stages=3),
    ProductConfig(16, 64, 64, num_warps=4, num_stages=3),
)
"""Of fp16 and bf16, for ever fewer rows.

The first was the fastest of seventeen on an H100 at 8,704 rows, at ten of twelve shapes of MiniLM,
base and large, and within 2 % of it at the others: of two programs side by side, the one's epilogue
hides behind the other's sums. One program a tile through pointers takes 1.3 to 1.6 times as long.
"""

FP32_CONFIGS = (
    ProductConfig(64, 64, 32, num_warps=8, num_stages=2),
    ProductConfig(16, 64, 32, num_warps=4, num_stages=2),
)
"""Products in three TF32 parts, which take three times the registers."""

_MANY_TILES = 132
"""A program for every multiprocessor of an H100 or H200."""


def choose_config(num_rows: int, num_columns: int, dtype: torch.dtype) -> ProductConfig:
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
    config: ProductConfig | None = None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual, (rows, out) of x's dtype; see `product`."""
    config = config or choose_config(len(x), len(weight), x.dtype)
    return product(x, weight, x.dtype, config, bias, activation, residual)
