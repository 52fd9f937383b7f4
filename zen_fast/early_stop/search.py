"""Which candidates to score next, which to give up, and when the top k is settled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zen_fast.early_stop.calibration import Allowance, Calibration, Floats

_FEWEST_FOR_SPREAD = 5
"""Scores from which a query's mean and deviation can be told."""


class TopKSearch:
    """One query's candidates while they are scored in first-stage order, wave by wave.

    It decides and never computes a logit: whoever drives it scores `next_wave()`, asks `hopeless`
    what to give up on the way, and reports to `add`.

    *Breadth.* A query's logits are taken to be distributed as the `RankModel` says for their
    first-stage ranks, at a scale of the query's own: the waves seen so far tell mean, deviation,
    and how much the first stage's order says about them. The expected number of unscored candidates
    above the k-th best logit, over k, is the share of the top k that would be lost by stopping now.

    *Depth.* After the probe's layer each candidate of a wave has a guess at its logit, and the
    probe's errors say how likely it is to end above the k-th best. The least likely ones are given
    up while together they are not expected to take more than the wave's part of what may be lost.
    """

    def __init__(
        self, calibration: Calibration, allowance: Allowance, num_candidates: int, k: int
    ) -> None:
        self._ranks = calibration.ranks
        self._probe = calibration.probe
        self._allowance = allowance
        self._k = k
        self._next = 0
        self._logits = np.full(num_candidates, np.nan)
        self._guesses = np.full(num_candidates, np.nan)

    @property
    def probe_layers(self) -> int:
        """Layers after which `hopeless` wants to see each candidate; 0 for never."""
        return self._probe.num_layers if self._probe and self._allowance.depth else 0

    def next_wave(self) -> range:
        """The candidates to score next; empty where the top k is settled or nothing is left."""
        num_candidates = len(self._logits)
        if self._next and self._allowance.breadth and self._is_settled():
            return range(0)
        start, self._next = self._next, min(self._next + self._allowance.wave, num_candidates)
        return range(start, self._next)

    def add(self, indices: NDArray[np.intp], logits: NDArray[np.float32]) -> None:
        """Hear the logits of scored candidates."""
        self._logits[indices] = logits

    def hopeless(
        self, indices: NDArray[np.intp], features: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Which of `indices` to give up, by what `PausedPairs.read` gives after `probe_layers`.

        Args:
            features: (len(indices), num_features)
        """
        assert self._probe is not None
        return self.judge(indices, self._probe.guess(features, indices))

    def judge(self, indices: NDArray[np.intp], guesses: Floats) -> NDArray[np.bool_]:
        """Which of `indices` to give up, by guesses at their logits."""
        assert self._probe is not None
        self._guesses[indices] = guesses
        level = guesses + self._level()
        kth_best = self._kth_best(level)
        chances = self._probe.chance_above(kth_best - level)
        order = np.argsort(chances, kind="stable")
        budget = self._allowance.depth * self._k * len(indices) / len(self._logits)
        given_up = np.zeros(len(indices), dtype=np.bool_)
        given_up[order] = np.cumsum(chances[order]) <= budget
        return given_up & (level < kth_best)

    def _level(self) -> float:
        """What this query's logits exceed their guesses by, as far as both are known."""
        errors = self._logits - self._guesses
        known = ~np.isnan(errors)
        return float(errors[known].mean()) if known.any() else 0.0

    def _kth_best(self, guesses: Floats) -> float:
        """The k-th best logit so far, `guesses` standing for those that are still unknown."""
        together = np.concatenate((self._logits[~np.isnan(self._logits)], guesses))
        if len(together) < self._k:
            return -np.inf
        return float(np.partition(together, -self._k)[-self._k])

    def _is_settled(self) -> bool:
        known = self._logits[~np.isnan(self._logits)]
        if len(known) < max(self._k, _FEWEST_FOR_SPREAD):
            return False
        threshold = np.partition(known, -self._k)[-self._k]
        guesses = self._guesses + self._level()  # they stand for candidates that were given up
        values = np.where(np.isnan(self._logits), guesses, self._logits)
        seen = np.flatnonzero(~np.isnan(values))
        unseen = np.arange(self._next, len(self._logits))
        scale = self._ranks.scale_of(seen, values[seen])
        chances = self._ranks.chance_above(unseen, threshold, scale)
        return float(chances.sum()) <= self._allowance.breadth * self._k
