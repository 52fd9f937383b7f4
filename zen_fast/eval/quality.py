"""Rerank judged candidates with several rerankers, and compare: quality, agreement, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from zen_fast.candidates import Request
from zen_fast.eval.metrics import kendall_tau, max_abs_difference, ndcg_at_10, percentiles

Score = Callable[[str, Sequence[str]], NDArray[np.float32]]
"""Logits of one query's documents, in the order given."""
Judgements = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class ColumnQuality:
    """One reranker on one collection; differences are from the first column."""

    name: str
    ndcg_at_10: float
    """x 100, as everywhere here."""
    relative_change: float
    """Of nDCG@10, in percent."""
    max_abs_logit_difference: float
    kendall_tau: float
    """Mean over the queries."""
    p50_ms: float
    """Per query, strings to logits."""
    p99_ms: float


@dataclass(frozen=True)
class CollectionQuality:
    """What every column makes of one collection's candidates."""

    collection: str
    split: str
    candidates: str
    """Where the candidates come from: "bm25" or "judged"."""
    num_queries: int
    num_pairs: int
    first_stage: float
    """nDCG@10 x 100 of the candidates as BM25 ranks them."""
    columns: tuple[ColumnQuality, ...]


def compare_rerankers(
    requests: Sequence[Request],
    judgements: Judgements,
    scorers: Mapping[str, Score],
    *,
    collection: str,
    split: str,
    candidates: str,
    advance: Callable[[int], object] = lambda num_pairs: None,
) -> CollectionQuality:
    """Let every scorer answer every request, in turn.

    Args:
        scorers: column name → scorer; the first is what the others are compared with.
        advance: called with the number of pairs scored after each request of each scorer.
    """
    logits: dict[str, list[NDArray[np.float32]]] = {name: [] for name in scorers}
    latencies: dict[str, list[float]] = {name: [] for name in scorers}
    for request in requests:
        for name, score in scorers.items():
            start = time.perf_counter()
            logits[name].append(score(request.query, request.documents))
            latencies[name].append(1000 * (time.perf_counter() - start))
            advance(len(request.documents))
    first = next(iter(scorers))
    quality = {name: _ndcg(requests, judgements, logits[name]) for name in scorers}
    columns = []
    for name in scorers:
        times = percentiles(latencies[name])
        columns.append(
            ColumnQuality(
                name,
                quality[name],
                100 * (quality[name] / quality[first] - 1) if quality[first] else 0.0,
                max_abs_difference(logits[name], logits[first]),
                fmean(map(kendall_tau, logits[name], logits[first])),
                times["p50_ms"],
                times["p99_ms"],
            )
        )
    return CollectionQuality(
        collection,
        split,
        candidates,
        len(requests),
        sum(len(request.documents) for request in requests),
        _ndcg(requests, judgements, [-np.arange(len(each.documents)) for each in requests]),
        tuple(columns),
    )


def _ndcg(
    requests: Sequence[Request], judgements: Judgements, scores: Sequence[NDArray[np.generic]]
) -> float:
    run = {
        request.query_id: dict(zip(request.document_ids, map(float, row), strict=True))
        for request, row in zip(requests, scores, strict=True)
    }
    return 100 * ndcg_at_10(judgements, run)
