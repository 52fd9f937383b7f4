"""From scored lists to a calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from zen_fast.early_stop.calibration import Allowance, Calibration, RankModel
from zen_fast.early_stop.choosing import choose_allowances, kept_and_cost
from zen_fast.early_stop.fitting import FittedProbe, fit_probe, fit_ranks
from zen_fast.early_stop.sample import ScoredList
from zen_fast.early_stop.simulation import layer_costs
from zen_fast.engine import Engine
from zen_fast.spec import EncoderSpec

_PROBE_PLACES = (1 / 6, 1 / 4, 1 / 3, 1 / 2)
"""Shares of the layers after which a probe is tried."""

_TRIAL_K = 10
_TRIAL_SHARE = 0.9
_TRIAL_DEPTHS = (0.05, 0.1, 0.2, 0.3)


def probe_layers(engine: Engine) -> list[int]:
    """Numbers of layers after which a probe is tried; none where the backend does not pause."""
    if not engine.can_pause:
        return []
    num_layers = engine.spec.num_layers
    return sorted({max(1, round(place * num_layers)) for place in _PROBE_PLACES})


def calibrate(
    lists: Sequence[ScoredList],
    spec: EncoderSpec,
    fingerprint: str,
    advance: Callable[[int], object] = lambda num_candidates: None,
) -> Calibration:
    """Fit both models of early stopping, and choose what each share of the top k may cost.

    Args:
        lists: of one model, all with the same layers read.
        spec: its encoder's.
        fingerprint: its checkpoint's.
        advance: hears of each allowance that was tried.
    """
    ranks = fit_ranks(lists)
    costs = layer_costs(spec.num_layers, spec.head.pooling == "first")
    fitted = _best_probe(lists, ranks, costs)
    calibration = Calibration(
        fingerprint,
        tuple(dict.fromkeys(each.collection for each in lists)),
        ranks,
        None if fitted is None else fitted.probe,
        (),
    )
    guesses = None if fitted is None else fitted.held_out_guesses
    allowances = choose_allowances(lists, calibration, guesses, costs, advance)
    return Calibration(fingerprint, calibration.fitted_on, ranks, calibration.probe, allowances)


def _best_probe(
    lists: Sequence[ScoredList], ranks: RankModel, costs: NDArray[np.float64]
) -> FittedProbe | None:
    """The probe that keeps 90 % of the top 10 at the least cost."""
    fitted = [fit_probe(lists, num_layers) for num_layers in lists[0].features]
    return min(fitted, key=lambda each: _trial_cost(lists, ranks, each, costs), default=None)


def _trial_cost(
    lists: Sequence[ScoredList],
    ranks: RankModel,
    fitted: FittedProbe,
    costs: NDArray[np.float64],
) -> float:
    calibration = Calibration("", (), ranks, fitted.probe, ())
    wave = max(len(each.logits) for each in lists)
    trials = [
        kept_and_cost(
            lists,
            calibration,
            Allowance(_TRIAL_K, 0.0, wave, 0.0, depth),
            fitted.held_out_guesses,
            costs,
        )
        for depth in _TRIAL_DEPTHS
    ]
    return min((cost for kept, cost in trials if kept >= _TRIAL_SHARE), default=1.0)
