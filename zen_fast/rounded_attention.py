"""What attention's numbers are rounded to where a CPU runs an int8 model: the kernels' constants.

Both products multiply 16-bit numbers, and no sum of theirs overflows 32 bits. Queries, keys and
values of each head are rounded to whole steps, the largest of the sequence being so many; a row's
weights, which begin at 1 for the best key, are multiplied by a whole number before that.
"""

from __future__ import annotations

import math

MAX_KEYS = 1024
"""Longer sequences are left in fp32: where all keys weigh the same, a weight has 8 bits here."""

MAX_VALUE = 8191
"""Steps of the largest value."""

MAX_WEIGHT = 2**15 - 1
"""Steps of the largest weight."""

_MAX_SUM = 2**31 - 1


def largest_factor(head_dim: int) -> int:
    """Steps of the largest query, and of the largest key: as many as a sum of products allows."""
    return min(MAX_WEIGHT, math.isqrt(_MAX_SUM // head_dim))


def largest_weights(num_keys: int) -> int:
    """What a row's weights, multiplied, may add up to before each is rounded."""
    return _MAX_SUM // MAX_VALUE - 1 - num_keys


def suffix(rounds_attention: bool) -> str:
    """What it adds to the name of a backend's arithmetic."""
    return ", attention in 16 bits" if rounds_attention else ""
