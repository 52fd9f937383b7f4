"""From scored lists to the two models of early stopping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.early_stop.calibration import Floats, LayerProbe, RankModel
from zen_fast.early_stop.sample import ScoredList

_GROUP_GROWTH = 1.4
"""Each group of ranks ends at about so many times the rank at which it begins."""
_UNKNOWN_TREND = 1e3
"""Deviation of a prior that says nothing: the trend is then the regression's."""
_LEVELS = np.linspace(-3.0, 8.0, 111)
_NUM_ERRORS = 201
_RIDGE = 1000.0
"""Against some thousand features that say much the same: about the effect of 1,000 more candidates
whose features say nothing."""
_NUM_FOLDS = 5
_FEWEST_COLLECTIONS = 4


def fit_ranks(lists: Sequence[ScoredList]) -> RankModel:
    """The distribution of standardized logits at each rank."""
    depth = max(len(each.logits) for each in lists)
    starts = _group_starts(depth)
    standardized = [
        (each.logits - each.logits.mean()) / max(float(each.logits.std()), 1e-6) for each in lists
    ]
    by_group: list[list[Floats]] = [[] for _ in starts]
    for logits in standardized:
        pieces = np.split(logits.astype(np.float64), starts[1:])
        for group, piece in zip(by_group, pieces, strict=True):
            group.append(piece)
    values = [np.concatenate(group) for group in by_group]
    ranks = RankModel(
        first_ranks=np.array(starts),
        means=np.array([each.mean() for each in values]),
        deviations=np.array([each.std() for each in values]),
        levels=_LEVELS,
        exceedance=np.array([(each[:, None] > _LEVELS).mean(axis=0) for each in values]),
        trend_deviation=_UNKNOWN_TREND,
    )
    trends = [ranks.scale_of(np.arange(len(logits)), logits).trend for logits in standardized]
    return replace(ranks, trend_deviation=float(np.std(trends)))


def _group_starts(depth: int) -> list[int]:
    starts = [0]
    while (following := max(starts[-1] + 1, int(starts[-1] * _GROUP_GROWTH))) < depth:
        starts.append(following)
    return starts


@dataclass(frozen=True)
class FittedProbe:
    """A probe, and what texts that it has not seen can expect of it."""

    probe: LayerProbe
    held_out_guesses: list[Floats]
    """For each list (n,), by a probe that was fitted without it."""


def fit_probe(lists: Sequence[ScoredList], num_layers: int) -> FittedProbe:
    """The probe after `num_layers` layers; its errors are those on lists that a fit has not seen.

    Whole collections are held out where there are enough of them, because the next one to be
    searched will be new, too.
    """
    inputs = [_inputs(each, num_layers) for each in lists]
    scale = np.sqrt(np.mean([_centred(each).var(axis=0) for each in inputs], axis=0)) + 1e-6
    folds = _folds(lists)
    sums = [_normal_equations([(inputs[i], lists[i]) for i in fold], scale) for fold in folds]
    products: Floats = np.sum([each for each, _ in sums], axis=0)
    targets: Floats = np.sum([each for _, each in sums], axis=0)
    guesses: list[Floats] = [np.empty(0)] * len(lists)
    for fold, (fold_products, fold_targets) in zip(folds, sums, strict=True):
        weight: Floats = _solve(products - fold_products, targets - fold_targets) / scale
        for index in fold:
            guesses[index] = inputs[index] @ weight
    errors = [_centred(each.logits - guess) for each, guess in zip(lists, guesses, strict=True)]
    quantiles = np.quantile(np.concatenate(errors), np.linspace(0.0, 1.0, _NUM_ERRORS))
    weight = _solve(products, targets) / scale
    return FittedProbe(LayerProbe(num_layers, weight[:-1], float(weight[-1]), quantiles), guesses)


def _folds(lists: Sequence[ScoredList]) -> list[list[int]]:
    """Indices of the lists that are held out together."""
    by_collection: dict[str, list[int]] = {}
    for index, each in enumerate(lists):
        by_collection.setdefault(each.collection, []).append(index)
    if len(by_collection) >= _FEWEST_COLLECTIONS:
        return list(by_collection.values())
    return [
        list(range(fold, len(lists), _NUM_FOLDS)) for fold in range(min(_NUM_FOLDS, len(lists)))
    ]


def _inputs(scored: ScoredList, num_layers: int) -> NDArray[np.float32]:
    """Features and log rank: (n, num_features + 1)."""
    ranks = np.log(np.arange(len(scored.logits), dtype=np.float32) + 2.0)
    return np.column_stack((scored.features[num_layers].astype(np.float32), ranks))


def _normal_equations(
    lists: Sequence[tuple[NDArray[np.float32], ScoredList]], scale: Floats
) -> tuple[Floats, Floats]:
    """Of the regression of differences within each list: (inputs, inputs) and (inputs,)."""
    rows = np.concatenate([_centred(inputs / scale.astype(np.float32)) for inputs, _ in lists])
    logits = np.concatenate([_centred(scored.logits) for _, scored in lists])
    return (rows.T @ rows).astype(np.float64), (rows.T @ logits).astype(np.float64)


def _solve(products: Floats, targets: Floats) -> NDArray[Any]:
    weight: NDArray[Any] = np.linalg.solve(products + _RIDGE * np.eye(len(targets)), targets)
    return weight


def _centred(rows: NDArray[Any]) -> NDArray[Any]:
    centred: NDArray[Any] = rows - rows.mean(axis=0)
    return centred
