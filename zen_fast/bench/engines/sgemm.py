"""The machine's fp32 ceiling, measured as the best of a few large matrix products in PyTorch."""

from __future__ import annotations

import time

import torch

_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1536, 1536))
"""(rows, columns, depth): large enough that packing and start-up do not count."""


def sgemm_gflops(num_threads: int, device: str) -> float:
    """GFLOP/s of the best of a few fp32 products, each tried twice."""
    torch.set_num_threads(num_threads)
    best = 0.0
    for rows, columns, depth in _SHAPES:
        a = torch.rand(rows, depth, device=device)
        b = torch.rand(depth, columns, device=device)
        product = torch.empty(rows, columns, device=device)
        for _ in range(2):
            start = time.perf_counter()
            torch.mm(a, b, out=product)
            if device != "cpu":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - start
            best = max(best, 2e-9 * rows * columns * depth / seconds)
    return best
