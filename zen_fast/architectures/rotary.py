"""Inverse frequencies of the rotary embedding, as the stock models compute them."""

from __future__ import annotations

import numpy as np


def inverse_frequencies(head_dim: int, theta: float, divisor: float = 1.0) -> tuple[float, ...]:
    """theta ** (-2i / head_dim) / divisor: (head_dim / 2,).

    fp32 step by step like the stock models: at position 8192 the last bit of a frequency turns the
    angle by 1e-3.
    """
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1) / np.float32(theta) ** exponents / np.float32(divisor)
    return tuple(frequencies.tolist())


def ntk_inverse_frequencies(
    head_dim: int, theta: float, factor: float, mixed_b: float | None
) -> tuple[float, ...]:
    """Frequencies stretched for a context `factor` times as long: (head_dim / 2,).

    Fixed NTK scaling without `mixed_b`, mixed with it (Su Jianlin, https://kexue.fm/archives/9706).
    """
    if mixed_b is None:
        return inverse_frequencies(head_dim, theta * factor, divisor=factor ** (2 / head_dim))
    plain = np.array(inverse_frequencies(head_dim, theta), dtype=np.float32)
    half = head_dim // 2
    growth = np.float32(np.log(np.float32(factor)) / np.float32(half**mixed_b))
    stretch = np.exp(growth * np.arange(1, half + 1, dtype=np.float32) ** np.float32(mixed_b))
    return tuple((plain / stretch).tolist())
