"""What the GPU gives with nothing around it: matrix products of each precision, and a copy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.gpu_gate.context import Context
from benchmarks.gpu_gate.timing import kernel_us

FLOAT8 = torch.float8_e4m3fn


def measure_ceilings(context: Context) -> None:
    """A record for each precision that the GPU has, and one for its memory."""
    device, size = context.scale.device, context.scale.matrix
    for precision, product in products(size, size, size, device).items():
        microseconds = _try(product, device)
        flops = None if microseconds is None else 2e6 * size**3 / microseconds
        context.record("ceiling", precision=precision, flops_per_second=flops)
    source = torch.empty(context.scale.copied_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    microseconds = kernel_us(lambda: target.copy_(source), device)
    context.record("ceiling", bytes_per_second=2e6 * context.scale.copied_bytes / microseconds)


def products(rows: int, columns: int, depth: int, device: str) -> dict[str, Callable[[], Tensor]]:
    """Precision → the vendor's product (rows, depth) x (columns, depth)ᵀ on random data."""
    a = torch.randn(rows, depth, device=device)
    b = torch.randn(columns, depth, device=device)

    def plain(dtype: torch.dtype) -> Callable[[], Tensor]:
        x, w = a.to(dtype), b.to(dtype)
        return lambda: torch.mm(x, w.T)

    def int8() -> Callable[[], Tensor]:
        x, w = (each.mul(32).clamp(-127, 127).to(torch.int8) for each in (a, b))
        return lambda: torch._int_mm(x, w.T)

    def fp8() -> Callable[[], Tensor]:
        x, w = a.to(FLOAT8), b.to(FLOAT8)
        row_scales = torch.ones(rows, 1, device=device)
        column_scales = torch.ones(1, columns, device=device)
        return lambda: torch._scaled_mm(
            x, w.T, scale_a=row_scales, scale_b=column_scales, out_dtype=torch.bfloat16
        )

    return {
        "fp32": plain(torch.float32),
        "fp16": plain(torch.float16),
        "bf16": plain(torch.bfloat16),
        "int8": int8(),
        "fp8": fp8(),
    }


def _try(product: Callable[[], Tensor], device: str) -> float | None:
    """Microseconds, or None where this GPU or this build of torch has no such product."""
    try:
        return kernel_us(product, device)
    except (RuntimeError, NotImplementedError) as error:
        print(f"no such product here: {error}")
        return None
