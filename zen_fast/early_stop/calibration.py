"""What early stopping knows of a model: how scores fall with the rank, what early layers tell.

Fitted by `zen-fast calibrate`, and kept beside the checkpoint.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QueryScale:
    """Where one query's logits lie: at mean + deviation * (trend * means[rank] + noise)."""

    mean: float
    deviation: float
    trend: float
    """How much the first stage's order tells: 1 as on the collections fitted to, 0 nothing."""


@dataclass(frozen=True, eq=False)
class RankModel:
    """How logits are distributed at each rank of the first stage, within a query's list.

    A query's logits are standardized by the mean and the deviation of its whole list. Ranks, which
    count from 0, are grouped, finely at the top; what is beyond the last group is as in it.
    """

    first_ranks: NDArray[np.intp]
    """(num_groups,), the first rank of each group."""
    means: Floats
    """(num_groups,), mean standardized logit."""
    deviations: Floats
    """(num_groups,), its standard deviation."""
    levels: Floats
    """(num_levels,), ascending standardized logits."""
    exceedance: Floats
    """(num_groups, num_levels), share of the logits above each level: never rising along a row."""
    trend_deviation: float
    """How far queries' trends are from 1, as a standard deviation."""

    def group(self, ranks: NDArray[np.intp]) -> NDArray[np.intp]:
        """The group of each rank."""
        return np.searchsorted(self.first_ranks, ranks, side="right") - 1

    def chance_above(self, ranks: NDArray[np.intp], logit: float, scale: QueryScale) -> Floats:
        """How likely each rank's logit is to be above `logit` in a query of this scale."""
        level = (logit - scale.mean) / scale.deviation
        levels = level + (1.0 - scale.trend) * self.means
        by_group = [
            np.interp(each, self.levels, row)
            for each, row in zip(levels, self.exceedance, strict=True)
        ]
        return np.array(by_group)[self.group(ranks)]

    def scale_of(self, ranks: NDArray[np.intp], logits: Floats) -> QueryScale:
        """A query's scale from some of its logits, whose ranks are known.

        A regression on the means: its residuals tell the deviation, its slope the trend, which is
        drawn towards 1 as far as the noise of so few logits outweighs `trend_deviation`.
        """
        group = self.group(ranks)
        means = self.means[group]
        noise = max(float(np.square(self.deviations[group]).mean()), 1e-12)
        centred = means - means.mean()
        spread = max(float(centred @ centred), 1e-6)
        slope = float(centred @ logits) / spread
        residual = logits.var() - slope**2 * spread / len(logits)
        deviation = max(float(np.sqrt(max(residual, 0.0) / noise)), 1e-6)
        prior = noise / max(self.trend_deviation, 1e-6) ** 2
        trend = (slope / deviation * spread + prior) / (spread + prior)
        return QueryScale(float(logits.mean() - deviation * trend * means.mean()), deviation, trend)


@dataclass(frozen=True, eq=False)
class LayerProbe:
    """A linear guess at the final logit from what an early layer knows, up to a constant per query.

    The idea is the cascade transformer's (Soldaini & Moschitti, ACL 2020). A regression stands in
    the place of its classifiers, so that a candidate can be compared with the rest of its list.
    """

    num_layers: int
    """Layers before the probe."""
    weight: Floats
    """(num_features,), over what `PausedPairs.read` gives."""
    rank_weight: float
    """Of log(rank + 2): what the first stage knows."""
    errors: Floats
    """Equally spaced quantiles, ascending, of what the final logit exceeds the guess by."""

    def guess(self, features: NDArray[np.float32], ranks: NDArray[np.intp]) -> Floats:
        """Guesses (n,) from the features (n, num_features) and the ranks (n,)."""
        guesses: Floats = features @ self.weight + self.rank_weight * np.log(ranks + 2.0)
        return guesses

    def chance_above(self, margins: Floats) -> Floats:
        """How likely each final logit is to exceed its guess by more than the margin."""
        return 1.0 - np.interp(margins, self.errors, np.linspace(0.0, 1.0, len(self.errors)))


@dataclass(frozen=True)
class Allowance:
    """What the models may expect to lose where this share of the top k is asked for."""

    k: int
    share: float
    """Of the exact top k, on average over queries."""
    wave: int
    """Candidates scored at once."""
    breadth: float
    """Expected part of the top k among unscored candidates at which to stop; 0: score them all."""
    depth: float
    """Expected part of the top k among candidates given up at the probe; 0: give up none."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """All that early stopping needs to know of a model."""

    fingerprint: str
    """Of the checkpoint's files."""
    fitted_on: tuple[str, ...]
    """Names of the collections."""
    ranks: RankModel
    probe: LayerProbe | None
    """None where the model has one layer, or its backend does not pause."""
    allowances: tuple[Allowance, ...]

    def allowance(self, k: int, share: float) -> Allowance | None:
        """The allowance that keeps at least `share` of the top `k`; None where none is known to.

        For a k between two that were calibrated, the stricter of theirs holds.
        """
        fitted = sorted({each.k for each in self.allowances})
        place = bisect.bisect_left(fitted, k)
        if place == len(fitted) or k < fitted[0]:
            return None
        neighbours = {fitted[place]} if fitted[place] == k else set(fitted[place - 1 : place + 1])
        chosen = [self._for_exactly(each, share) for each in sorted(neighbours)]
        strictest: Allowance | None = None
        for each in chosen:
            if each is None:
                return None
            if strictest is None or each.breadth + each.depth < strictest.breadth + strictest.depth:
                strictest = each
        return strictest

    def _for_exactly(self, k: int, share: float) -> Allowance | None:
        enough = [each for each in self.allowances if each.k == k and each.share >= share]
        return min(enough, key=lambda each: each.share, default=None)
