"""What an allowance would have cost and kept, replayed on lists whose scores are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_fast.early_stop.calibration import Allowance, Calibration, Floats
from zen_fast.early_stop.sample import ScoredList
from zen_fast.early_stop.search import TopKSearch

WAVE_OVERHEAD_TOKENS = 100
"""What a wave of its own costs beside its candidates, as tokens through all layers."""


@dataclass(frozen=True)
class Replay:
    """One list under one allowance."""

    overlap: float
    """Share of the exact top k that is in the top k returned."""
    cost: float
    """Part of the tokens x layers that scoring every candidate takes."""


def replay(
    scored: ScoredList,
    calibration: Calibration,
    allowance: Allowance,
    guesses: Floats | None,
    layer_costs: NDArray[np.float64],
) -> Replay:
    """Search `scored` as it would be searched, taking each logit from the list.

    Args:
        guesses: (n,) the probe's, where `allowance.depth` asks for them.
        layer_costs: (num_layers,) of a token, relative to one another.
    """
    k = allowance.k
    search = TopKSearch(calibration, allowance, len(scored.logits), k)
    early = layer_costs[: search.probe_layers].sum()
    late = layer_costs[search.probe_layers :].sum()
    spent = 0.0
    is_scored = np.zeros(len(scored.logits), dtype=np.bool_)
    while wave := search.next_wave():
        indices = np.arange(wave.start, wave.stop)
        spent += early * scored.lengths[indices].sum() + WAVE_OVERHEAD_TOKENS * (early + late)
        if search.probe_layers and guesses is not None:
            indices = indices[~search.judge(indices, guesses[indices])]
        spent += late * scored.lengths[indices].sum()
        search.add(indices, scored.logits[indices])
        is_scored[indices] = True
    exact = np.argsort(-scored.logits, kind="stable")[:k]
    overlap = float(is_scored[exact].mean())
    return Replay(overlap, float(spent / (scored.lengths.sum() * layer_costs.sum())))


def layer_costs(num_layers: int, last_reads_first_rows: bool) -> NDArray[np.float64]:
    """Relative cost of a token in each layer; the last may need only keys and values of most."""
    costs = np.ones(num_layers)
    if last_reads_first_rows:
        costs[-1] = 2 / 12  # two of the twelve hidden x hidden products of a plain layer
    return costs
