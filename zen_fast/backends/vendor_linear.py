"""The linear op through PyTorch, that is through the vendor's matrix product."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": torch.relu_,
    "silu": lambda x: functional.silu(x, inplace=True),
    "tanh": torch.tanh_,
}


def vendor_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(x weightᵀ + bias) + residual, rounded to x's dtype after each of the three.

    Args:
        x: (rows, in).
        weight: (out, in) of x's dtype.
        bias: (out,) of x's dtype.
        residual: (rows, out) of x's dtype.
    """
    out = functional.linear(x, weight, bias)
    if activation is not None:
        out = _ACTIVATIONS[activation](out)
    return out if residual is None else out.add_(residual)
