"""The machine's ceilings: what its matrix products give at the moment with nothing around them.

fp32 is the best of a few large products in PyTorch; int8, on the CPU, this project's own kernel on
operands in L1, because no library at hand has a faster one.
"""

from __future__ import annotations

import time

import torch

from zen_fast import _C
from zen_fast.backends.cpu import choose_isa

_SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (4096, 1536, 1536))
"""(rows, columns, depth): large enough that packing and start-up do not count."""


def ceilings_gflops(num_threads: int, device: str) -> dict[str, float]:
    """Precision → GFLOP/s, all threads together; a multiply and its addition are two."""
    ceilings = {}
    if device == "cpu":  # first: PyTorch's threads keep the cores busy after their last product
        gmacs = _C.kernel_gmacs(choose_isa(), num_threads)
        ceilings["int8"] = 2.0 * gmacs["int8"]
    ceilings["fp32"] = _sgemm_gflops(num_threads, device)
    return ceilings


def _sgemm_gflops(num_threads: int, device: str) -> float:
    """The best of a few fp32 products, each tried twice."""
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
