"""Two stages as one: retrieve, rerank."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from zen_fast.arguments import (
    deadline_seconds,
    positive_count,
    share_of_first_stage,
    share_to_find,
)
from zen_fast.ranking import Ranking
from zen_fast.reranker import ZenReranker
from zen_fast.retrieval.retriever import ZenRetriever

DEFAULT_NUM_CANDIDATES = 100

_LEAST_SECONDS = 1e-6
"""Left to the reranker where the retriever took all: it returns at once, in the first order."""


@dataclass(frozen=True)
class TwoStageResult:
    """What a query found, and what each stage took."""

    documents: Ranking
    """Best first; each `document` is the retriever's Candidate, each `index` its rank there. Its
    `work` says how many were scored, and why no more."""
    num_candidates: int
    """That the retriever found for the reranker."""
    retrieve_ms: float
    rerank_ms: float


class TwoStagePipeline:
    """A retriever's candidates in a reranker's order.

    Args:
        num_candidates: documents that the retriever brings for each query.
        first_stage_weight: the retriever's share of the order, from 0 to 1; see
            `ZenReranker.rerank`.

    Raises:
        InvalidArgumentError, InvalidTypeError: `num_candidates` is no positive number, or
            `first_stage_weight` no share.
    """

    def __init__(
        self,
        retriever: ZenRetriever,
        reranker: ZenReranker,
        *,
        num_candidates: int = DEFAULT_NUM_CANDIDATES,
        first_stage_weight: float = 0.0,
    ) -> None:
        self.retriever = retriever
        self.reranker = reranker
        self.num_candidates = positive_count("num_candidates", num_candidates)
        self.first_stage_weight = share_of_first_stage(first_stage_weight)

    def search(
        self,
        query: str,
        k: int = 10,
        *,
        early_stop: float | None = None,
        deadline_ms: float | None = None,
    ) -> TwoStageResult:
        """The best `k` documents for `query`.

        Args:
            early_stop: see `ZenReranker.rerank`.
            deadline_ms: for both stages together: the reranker has what the retriever leaves of it.

        Raises:
            ZenError: see `ZenRetriever.retrieve` and `ZenReranker.rerank`.
        """
        k = positive_count("k", k)
        share_to_find(early_stop)
        budget = deadline_seconds(deadline_ms)
        started = time.perf_counter()
        candidates = self.retriever.retrieve(query, max(k, self.num_candidates))
        retrieved = time.perf_counter()
        left = None if budget is None else max(budget - (retrieved - started), _LEAST_SECONDS)
        ranking = self.reranker.rerank(
            query,
            candidates,
            k,
            early_stop=early_stop,
            deadline_ms=None if left is None else 1000 * left,
            first_stage_weight=self.first_stage_weight,
        )
        return TwoStageResult(
            documents=ranking,
            num_candidates=len(candidates),
            retrieve_ms=1000 * (retrieved - started),
            rerank_ms=1000 * (time.perf_counter() - retrieved),
        )

    def batch_search(
        self, queries: Sequence[str], k: int = 10, *, early_stop: float | None = None
    ) -> list[TwoStageResult]:
        """`search` for many queries; each result's times are its share of the whole batch's."""
        k = positive_count("k", k)
        share_to_find(early_stop)
        started = time.perf_counter()
        found = self.retriever.batch_retrieve(queries, max(k, self.num_candidates))
        retrieved = time.perf_counter()
        rankings = self.reranker.batch_rerank(
            queries,
            found,
            k=k,
            early_stop=early_stop,
            first_stage_weight=self.first_stage_weight,
        )
        reranked = time.perf_counter()
        per_query_ms = 1000 / max(len(found), 1)
        return [
            TwoStageResult(
                documents=ranking,
                num_candidates=len(candidates),
                retrieve_ms=(retrieved - started) * per_query_ms,
                rerank_ms=(reranked - retrieved) * per_query_ms,
            )
            for ranking, candidates in zip(rankings, found, strict=True)
        ]
