"""Latency percentiles, agreement with the reference, and quality."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def percentiles(latencies_ms: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in ms, interpolated between neighbours."""
    values = np.percentile(latencies_ms, (50, 95, 99))
    return {f"p{rank}_ms": float(value) for rank, value in zip((50, 95, 99), values, strict=True)}


def kendall_tau(first: ArrayLike, second: ArrayLike) -> float:
    """Kendall's tau-b of two score vectors; 1.0 where either ranks nothing (all tied)."""
    a, b = _pairwise_signs(first), _pairwise_signs(second)
    norm = math.sqrt(np.count_nonzero(a) * np.count_nonzero(b))
    return float((a * b).sum()) / norm if norm else 1.0


def _pairwise_signs(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    rows, columns = np.triu_indices(len(values), k=1)
    return np.sign(values[rows] - values[columns])


def relative_change(value: float, reference: float) -> float:
    """From the reference to the value, in percent; 0.0 where the reference is 0."""
    return 100 * (value / reference - 1) if reference else 0.0


def top_overlap(first: ArrayLike, second: ArrayLike, k: int = 10) -> float:
    """Share of the best `k` of one score vector that are among the best `k` of the other."""
    best = [
        set(np.argsort(-np.asarray(scores), kind="stable")[:k].tolist())
        for scores in (first, second)
    ]
    return len(best[0] & best[1]) / max(len(best[0]), 1)


def max_abs_difference(first: Sequence[ArrayLike], second: Sequence[ArrayLike]) -> float:
    """Largest |a - b| over pairs of vectors; NaN where any value is NaN."""
    return float(np.max(np.abs(np.concatenate(first) - np.concatenate(second)), initial=0.0))


def ndcg_at_10(
    judgements: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> float:
    """nDCG@10 by ir-measures, averaged over the queries of `run`."""
    import ir_measures

    qrels = {query_id: dict(judgements[query_id]) for query_id in run}
    scores = {query_id: dict(scores) for query_id, scores in run.items()}
    measure = ir_measures.nDCG @ 10
    return float(ir_measures.calc_aggregate([measure], qrels, scores)[measure])


MEASURES = ("nDCG@10", "RR@10", "R@10")


def query_measures(
    judgements: Mapping[str, Mapping[str, int]],
    run: Mapping[str, Mapping[str, float]],
    measures: Sequence[str] = MEASURES,
) -> dict[str, Floats]:
    """Measures by ir-measures (of whose names "R@100" is recall), each (num_queries,) as in `run`.

    A query for which nothing was retrieved counts as 0.
    """
    import ir_measures

    parsed = {name: ir_measures.parse_measure(name) for name in measures}
    qrels = {query_id: dict(judgements[query_id]) for query_id in run}
    scores = {query_id: dict(documents) for query_id, documents in run.items() if documents}
    place = {query_id: index for index, query_id in enumerate(run)}
    values = {name: np.zeros(len(run)) for name in measures}
    names = {measure: name for name, measure in parsed.items()}
    for metric in ir_measures.iter_calc(list(parsed.values()), qrels, scores):
        values[names[metric.measure]][place[metric.query_id]] = metric.value
    return values
