"""Rerank judged candidates with several rerankers, and compare: quality, agreement, time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.candidates import Request
from zen_fast.eval.first_stage import Retrieved
from zen_fast.eval.metrics import (
    MEASURES,
    kendall_tau,
    max_abs_difference,
    percentiles,
    query_measures,
    relative_change,
)
from zen_fast.eval.significance import Comparison, compare_paired
from zen_fast.eval.trec import Run
from zen_fast.interpolation import FirstStage

Score = Callable[[str, Sequence[str]], NDArray[np.float32]]
"""Logits of one query's documents, in the order given."""
Judgements = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class RankingQuality:
    """One ranking of every query's documents, judged; measures are x 100, as everywhere here."""

    name: str
    ndcg_at_10: float
    mrr_at_10: float
    recall_at_10: float
    p50_ms: float | None
    """Per query, of this stage alone; None where it was not timed."""
    p99_ms: float | None
    query_ndcg: tuple[float, ...]
    """nDCG@10 of each query."""


@dataclass(frozen=True)
class ColumnQuality(RankingQuality):
    """One reranker on one collection; differences are from the first column."""

    relative_change: float
    """Of nDCG@10, in percent."""
    max_abs_logit_difference: float
    kendall_tau: float
    """Mean over the queries."""
    gain: Comparison
    """Of nDCG@10 over the first stage, in points."""
    against_first: Comparison
    """Of nDCG@10 over the first column, in points."""


@dataclass(frozen=True)
class CollectionQuality:
    """What every column makes of one collection's candidates."""

    collection: str
    split: str
    candidates: str
    """Where the candidates come from: a first stage, or "judged"."""
    num_queries: int
    num_pairs: int
    first_stage: float
    """nDCG@10 x 100 of the candidates as they come."""
    retrieval: RankingQuality
    """All of the first stage."""
    depth: int
    """Most candidates that a query has."""
    recall_at_depth: float
    """x 100, of the candidates: no reranker can find more."""
    query_ids: tuple[str, ...]
    columns: tuple[ColumnQuality, ...]


@dataclass(frozen=True)
class Scored:
    """What one reranker said of each request, and how long it took."""

    logits: list[NDArray[np.float32]]
    latencies_ms: list[float]
    mixed: Sequence[NDArray[np.float64]] | None = None
    """What it ranks by, where that is not the logits."""

    @property
    def keys(self) -> Sequence[NDArray[np.floating]]:
        """What it ranks by."""
        return self.logits if self.mixed is None else self.mixed

    def run(self, requests: Sequence[Request]) -> Run:
        """As a ranking."""
        return _run(requests, self.keys)

    def with_first_stage(self, retrieved: Retrieved, weight: float) -> Scored:
        """The same reranker, its scores mixed with the first stage's."""
        mixed = [
            _first_stage(retrieved.run, request, weight).mixed_with(logits)
            for request, logits in zip(retrieved.requests, self.logits, strict=True)
        ]
        return Scored(self.logits, self.latencies_ms, mixed)


def score_requests(
    requests: Sequence[Request],
    scorers: Mapping[str, Score],
    advance: Callable[[int], object] = lambda num_pairs: None,
) -> dict[str, Scored]:
    """Let every scorer answer every request, in turn.

    Args:
        scorers: column name → scorer.
        advance: called with the number of pairs scored after each request of each scorer.
    """
    scored = {name: Scored([], []) for name in scorers}
    for request in requests:
        for name, score in scorers.items():
            start = time.perf_counter()
            logits = score(request.query, request.documents)
            scored[name].latencies_ms.append(1000 * (time.perf_counter() - start))
            scored[name].logits.append(logits)
            advance(len(request.documents))
    return scored


def judge(
    requests: Sequence[Request],
    judgements: Judgements,
    scored: Mapping[str, Scored],
    *,
    collection: str,
    split: str,
    candidates: str,
    retrieval_ms: Sequence[float] = (),
) -> CollectionQuality:
    """Judge the first stage and every column.

    Args:
        scored: column name → what it said; the first is what the others are compared with.
        retrieval_ms: the first stage's time for each request, where it was taken.
    """
    as_they_come = _run(requests, [-np.arange(len(each.documents)) for each in requests])
    depth = max(len(request.documents) for request in requests)
    recall = f"R@{depth}"
    retrieval = RankingQuality(candidates, **_measured(judgements, as_they_come, retrieval_ms))
    first_scored = next(iter(scored.values()))
    columns: list[ColumnQuality] = []
    for name, each in scored.items():
        measured = _measured(judgements, each.run(requests), each.latencies_ms)
        first = columns[0] if columns else RankingQuality(name, **measured)
        ndcg, query_ndcg = measured["ndcg_at_10"], measured["query_ndcg"]
        columns.append(
            ColumnQuality(
                name,
                **measured,
                relative_change=relative_change(ndcg, first.ndcg_at_10),
                max_abs_logit_difference=max_abs_difference(each.logits, first_scored.logits),
                kendall_tau=fmean(map(kendall_tau, each.keys, first_scored.keys)),
                gain=compare_paired([(retrieval.query_ndcg, query_ndcg)]),
                against_first=compare_paired([(first.query_ndcg, query_ndcg)]),
            )
        )
    return CollectionQuality(
        collection=collection,
        split=split,
        candidates=candidates,
        num_queries=len(requests),
        num_pairs=sum(len(request.documents) for request in requests),
        first_stage=retrieval.ndcg_at_10,
        retrieval=retrieval,
        depth=depth,
        recall_at_depth=100
        * float(query_measures(judgements, as_they_come, [recall])[recall].mean()),
        query_ids=tuple(request.query_id for request in requests),
        columns=tuple(columns),
    )


def compare_rerankers(
    requests: Sequence[Request],
    judgements: Judgements,
    scorers: Mapping[str, Score],
    *,
    collection: str,
    split: str,
    candidates: str,
) -> CollectionQuality:
    """`score_requests`, then `judge`."""
    return judge(
        requests,
        judgements,
        score_requests(requests, scorers),
        collection=collection,
        split=split,
        candidates=candidates,
    )


def _first_stage(run: Run, request: Request, weight: float) -> FirstStage:
    scores = run[request.query_id]
    return FirstStage(np.array([scores[key] for key in request.document_ids]), weight)


def _measured(judgements: Judgements, run: Run, latencies_ms: Sequence[float]) -> dict[str, Any]:
    """What RankingQuality has beside its name."""
    values = query_measures(judgements, run)
    ndcg, mrr, recall = (100 * float(values[name].mean()) for name in MEASURES)
    times = percentiles(latencies_ms) if latencies_ms else {}
    return {
        "ndcg_at_10": ndcg,
        "mrr_at_10": mrr,
        "recall_at_10": recall,
        "p50_ms": times.get("p50_ms"),
        "p99_ms": times.get("p99_ms"),
        "query_ndcg": tuple((100 * values["nDCG@10"]).round(4).tolist()),
    }


def _run(requests: Sequence[Request], scores: Sequence[NDArray[np.generic]]) -> Run:
    return {
        request.query_id: dict(zip(request.document_ids, map(float, row), strict=True))
        for request, row in zip(requests, scores, strict=True)
    }
