"""Seconds of a function: on the wall for a whole pass, on the GPU's clock for one op."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

_WARM_UPS = 3
"""Untimed calls, of which the first compiles and captures."""
_GRAPH_MS = 2
"""Of calls captured into one graph: some hundreds of short ones."""


def wall_ms(function: Callable[[], object], device: str, repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` calls, from the call until the GPU is done with it."""
    for _ in range(0 if device == "cpu" else _WARM_UPS):
        function()
    latencies = []
    for _ in range(repeats):
        _synchronize(device)
        start = time.perf_counter()
        function()
        _synchronize(device)
        latencies.append(1000 * (time.perf_counter() - start))
    return latencies


def kernel_us(function: Callable[[], object], device: str) -> float:
    """Median microseconds of an op inside a replayed CUDA graph: without launch gaps."""
    if device == "cpu":
        return 1000 * wall_ms(function, device, 1)[0]
    from triton.testing import do_bench_cudagraph

    function()  # a kernel that is not compiled yet cannot be captured
    return 1000 * float(do_bench_cudagraph(function, rep=_GRAPH_MS, return_mode="median"))


def peak_bytes(device: str) -> int | None:
    """Largest memory held by tensors since the last call; None where there is no GPU."""
    if device == "cpu":
        return None
    peak = torch.cuda.max_memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    return int(peak)


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)
