"""Correctness before speed: an engine whose logits stray from the reference is not timed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zen_fast import placement
from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.metrics import max_abs_difference

TOLERANCES = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2, "int8": 1e-1, "fp8": 2e-1}
"""Largest accepted |Δlogit| of each precision, as a share of the reference's spread."""

_RANDOM_WEIGHTS = {"int8": 2e-1, "fp8": 4e-1}
"""The same on random weights, where they differ: without training, the documents of a query lie
near to each other, and 8 bits' noise is up to a ninth of their spread."""

PRECISIONS = tuple(name for name in TOLERANCES if name in placement.PRECISIONS)
"""What this release can run."""


def require_known_precisions(precisions: Sequence[str]) -> None:
    """Raises InvalidArgumentError for a precision that is not in this release."""
    for precision in precisions:
        if precision not in PRECISIONS:
            raise InvalidArgumentError(
                f"unknown precision {precision!r}; accepted: {', '.join(PRECISIONS)}"
            )


def require_tolerance(precision: str, engine_name: str) -> None:
    """Raises InvalidArgumentError for a precision that no engine can be held to."""
    if precision not in TOLERANCES:
        raise InvalidArgumentError(
            f"{engine_name} says that its precision is {precision!r}; accepted: "
            f"{', '.join(TOLERANCES)}"
        )


def tolerances(random_weights: bool) -> dict[str, float]:
    """Largest accepted |Δlogit| of each precision, as a share of the reference's spread."""
    return TOLERANCES | _RANDOM_WEIGHTS if random_weights else TOLERANCES


def refusal(
    logits: Sequence[Sequence[float]], reference: Sequence[Sequence[float]], share: float
) -> str | None:
    """Why these logits are refused, or None where they pass; NaN never passes.

    Args:
        share: largest accepted |Δlogit| as a share of the reference's spread.
    """
    difference = max_abs_difference(logits, reference)
    scale = logit_spread(reference)
    tolerance = share * scale
    if difference <= tolerance:
        return None
    return (
        f"max |Δlogit| {difference:.3g} against stock transformers in fp32 exceeds {tolerance:.3g} "
        f"({share:g} of the logits' spread {scale:.3g})"
    )


def logit_spread(logits: Sequence[Sequence[float]]) -> float:
    """Largest minus smallest logit, or the one logit's size where there is only one."""
    values = np.concatenate(logits)
    return float(np.ptp(values) if len(values) > 1 else np.abs(values).max(initial=0.0))
