"""Whether one ranking is better than another over the same queries, or only happens to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
_NUM_SAMPLES = 10_000
_DRAWN_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two rankings by a measure of each query."""

    difference: float
    """Mean of the second less mean of the first; over several collections, the mean of theirs."""
    low: float
    high: float
    """Its 95 % confidence interval."""
    p_value: float
    """How often chance alone would make the means differ as much; two-sided."""


def compare_paired(collections: Sequence[tuple[ArrayLike, ArrayLike]], seed: int = 0) -> Comparison:
    """Compare two rankings, paired by query.

    The interval is that of a percentile bootstrap over the queries of each collection, the p-value
    that of Fisher's randomization test, which Smucker et al. (CIKM 2007) recommend for rankings:
    under the hypothesis that both are alike, each query's difference may have either sign.

    Args:
        collections: for each, (num_queries,) values of the first ranking and of the second.
    """
    differences = [
        np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
        for first, second in collections
    ]
    if not any(each.any() for each in differences):
        return Comparison(0.0, 0.0, 0.0, p_value=1.0)
    rng = np.random.default_rng(seed)
    observed = float(np.mean([each.mean() for each in differences]))

    def resampled(each: Floats, count: int) -> Floats:
        means: Floats = each[rng.integers(0, len(each), (count, len(each)))].mean(axis=1)
        return means

    def flipped(each: Floats, count: int) -> Floats:
        means: Floats = rng.choice((-1.0, 1.0), (count, len(each))) @ each / len(each)
        return means

    low, high = np.quantile(
        _samples(differences, resampled), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    by_chance = np.abs(_samples(differences, flipped)) >= abs(observed) - 1e-12
    p_value = (1 + int(by_chance.sum())) / (1 + _NUM_SAMPLES)
    return Comparison(observed, float(low), float(high), p_value)


def _samples(differences: Sequence[Floats], draw: Callable[[Floats, int], Floats]) -> Floats:
    """(num_samples,) means over the collections of what `draw` makes of each."""
    total = np.zeros(_NUM_SAMPLES)
    for each in differences:
        step = max(1, _DRAWN_AT_ONCE // len(each))
        for start in range(0, _NUM_SAMPLES, step):
            stop = min(start + step, _NUM_SAMPLES)
            total[start:stop] += draw(each, stop - start)
    return total / len(differences)
