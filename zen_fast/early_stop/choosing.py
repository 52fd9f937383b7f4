"""Which allowances keep the share of the top k that a user asks for, at the least cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zen_fast.early_stop.calibration import Allowance, Calibration, Floats
from zen_fast.early_stop.sample import ScoredList
from zen_fast.early_stop.simulation import replay

SHARES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
KS = (1, 5, 10, 20)

_WAVES = (30, 50, 100)
_BREADTHS = (0.0, 0.03, 0.1, 0.2)
_DEPTHS = (0.0, 0.005, 0.01, 0.02, 0.04, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)

MARGIN_DEVIATIONS = 2.5
"""A new collection may be harder than those that were calibrated on: what is promised is the mean
over collections less this many standard deviations between them. Fitted on nine collections, a
tenth stays above that with a chance of 97 % (Student's t)."""


def choose_allowances(
    lists: Sequence[ScoredList],
    calibration: Calibration,
    guesses: Sequence[Floats] | None,
    costs: NDArray[np.float64],
    advance: Callable[[int], object] = lambda num_candidates: None,
) -> tuple[Allowance, ...]:
    """For each k and share the cheapest allowance that keeps it; none where only all would do.

    Args:
        guesses: for each list, by a probe that has not seen it; None without a probe.
        costs: (num_layers,), see `layer_costs`.
        advance: hears of each candidate that was tried.
    """
    best: dict[tuple[int, float], tuple[float, Allowance]] = {}
    for candidate in candidates(guesses is not None):
        kept, cost = kept_and_cost(lists, calibration, candidate, guesses, costs)
        for share in SHARES:
            cheapest, _ = best.get((candidate.k, share), (1.0, None))
            if kept >= share and cost < cheapest:
                best[candidate.k, share] = cost, replace(candidate, share=share)
        advance(1)
    return tuple(allowance for _, (_, allowance) in sorted(best.items()))


def candidates(has_probe: bool) -> Iterator[Allowance]:
    """Every allowance that is tried, with the share still open (0)."""
    depths = _DEPTHS if has_probe else (0.0,)
    for k, wave, breadth, depth in itertools.product(KS, _WAVES, _BREADTHS, depths):
        if breadth or depth:
            yield Allowance(k, 0.0, wave, breadth, depth)


def kept_and_cost(
    lists: Sequence[ScoredList],
    calibration: Calibration,
    allowance: Allowance,
    guesses: Sequence[Floats] | None,
    costs: NDArray[np.float64],
) -> tuple[float, float]:
    """The share of the top k that can be promised, and the part of the work that it takes."""
    overlaps: dict[str, list[float]] = {}
    spent = []
    for index, scored in enumerate(lists):
        guess = None if guesses is None else guesses[index]
        if len(scored.logits) > allowance.k:
            result = replay(scored, calibration, allowance, guess, costs)
            overlaps.setdefault(scored.collection, []).append(result.overlap)
            spent.append(result.cost)
    if not spent:
        return 0.0, 1.0
    means = [float(np.mean(each)) for each in overlaps.values()]
    return float(np.mean(means) - MARGIN_DEVIATIONS * np.std(means)), float(np.mean(spent))
