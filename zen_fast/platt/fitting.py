"""The slope and the level that make logits log odds (Platt, "Probabilistic outputs for support
vector machines", 1999)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_fast.errors import ZenError

_MAX_STEPS = 100
_CONVERGED = 1e-10
_MAX_HALVINGS = 40


class ScalingError(ZenError):
    """Logits cannot be made log odds: they do not rise with relevance."""


@dataclass(frozen=True, eq=False)
class LabelledLogits:
    """Scored candidates of one collection's queries."""

    name: str
    num_queries: int
    logits: NDArray[np.float64]
    """(n,)"""
    relevant: NDArray[np.bool_]
    """(n,); both kinds occur"""


@dataclass(frozen=True)
class Scaling:
    """What a logit becomes: `slope` times it, plus `level`."""

    slope: float = 1.0
    level: float = 0.0

    def loss(self, sample: LabelledLogits) -> float:
        """Mean negative log likelihood in nats, with half the weight on each kind of candidate.

        ln 2 is that of a score of 0.5 for everything.
        """
        margins = self.slope * sample.logits + self.level
        losses = np.logaddexp(0.0, np.where(sample.relevant, -margins, margins))
        return float(np.sum(_balanced(sample) * losses))


def fit_scaling(samples: Sequence[LabelledLogits]) -> Scaling:
    """The scaling of least mean loss, every sample counting alike; Newton's method.

    Relevant and other candidates count alike, too: a score of 0.5 then says that a document would
    be found among either as often. Targets are Platt's, a little within 0 and 1, so that samples
    that a threshold parts have a finite slope.

    Raises:
        ScalingError: the best slope is not above 0, which would turn rankings round, or the logits
            say nothing.
    """
    logits = np.concatenate([each.logits for each in samples])
    names = ", ".join(each.name for each in samples)
    middle, spread = logits.mean(), logits.std()
    if not np.isfinite(spread) or spread == 0.0:
        raise ScalingError(f"the logits of {names} are all alike, or some are not finite")
    weights = np.concatenate([_balanced(each) for each in samples]) / len(samples)
    targets = np.concatenate([_targets(each.relevant) for each in samples])
    # Far from 0 every chance would be 0 or 1 at the start, and Newton's method at a loss.
    slope, level = _fit((logits - middle) / spread, weights, targets)
    slope, level = slope / spread, level - slope * middle / spread
    if slope <= 0.0:
        raise ScalingError(
            f"relevant documents of {names} have no higher logits than others (slope {slope:.2g}); "
            "fit on a collection that the model ranks well"
        )
    return Scaling(slope, level)


def _fit(
    logits: NDArray[np.float64], weights: NDArray[np.float64], targets: NDArray[np.float64]
) -> tuple[float, float]:
    """Slope and level of least weighted loss."""
    inputs = np.stack([logits, np.ones_like(logits)])

    def loss(parameters: NDArray[np.float64]) -> float:
        margins = parameters @ inputs
        return float(np.sum(weights * (np.logaddexp(0.0, margins) - targets * margins)))

    parameters = np.array([1.0, 0.0])
    for _ in range(_MAX_STEPS):
        chances = 1.0 / (1.0 + np.exp(-np.clip(parameters @ inputs, -500, 500)))
        gradient = inputs @ (weights * (chances - targets))
        curvature = (inputs * (weights * chances * (1.0 - chances))) @ inputs.T
        step = np.linalg.lstsq(curvature, gradient, rcond=None)[0]
        before = loss(parameters)
        # The loss is convex, but far from its least a whole step may leap over it.
        shares = 0.5 ** np.arange(_MAX_HALVINGS)
        share = next((s for s in shares if loss(parameters - s * step) < before), 0.0)
        parameters = parameters - share * step
        if before - loss(parameters) < _CONVERGED:
            break
    slope, level = parameters.tolist()
    return slope, level


def _balanced(sample: LabelledLogits) -> NDArray[np.float64]:
    """Each candidate's weight: a half to either kind, a sum of 1."""
    num_relevant = int(sample.relevant.sum())
    return np.where(
        sample.relevant, 0.5 / num_relevant, 0.5 / (len(sample.relevant) - num_relevant)
    )


def _targets(relevant: NDArray[np.bool_]) -> NDArray[np.float64]:
    num_relevant = int(relevant.sum())
    num_others = len(relevant) - num_relevant
    return np.where(relevant, (num_relevant + 1) / (num_relevant + 2), 1 / (num_others + 2))
