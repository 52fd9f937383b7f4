"""nDCG@10 of BM25's best documents before and after a reranking, on any BEIR collection.

`python -m zen_fast.train.evaluation MODEL DATA COLLECTION[:SPLIT[:QUERIES]]...` prints JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zen_fast.bench.metrics import ndcg_at_10
from zen_fast.bm25 import Bm25Index
from zen_fast.collection import Collection, load_collection
from zen_fast.reranker import ZenReranker

ScoreFunction = Callable[[str, list[str]], Sequence[float]]
"""Scores one query's documents, in the order given."""


@dataclass(frozen=True)
class RerankingQuality:
    """nDCG@10 x 100 over the queries that have a relevant document."""

    collection: str
    num_queries: int
    bm25: float
    reranked: float


def measure_reranking(
    collection: Collection,
    score: ScoreFunction,
    *,
    depth: int = 100,
    max_queries: int = 0,
    seed: int = 0,
    advance: Callable[[int, int], object] = lambda done, total: None,
) -> RerankingQuality:
    """Rerank BM25's best documents and compare.

    Args:
        depth: candidates taken from BM25 over the whole corpus.
        max_queries: size of the query sample, drawn with `seed`; 0 takes all.
        advance: called after each query with the numbers done and to do.
    """
    query_ids = [
        key
        for key, grades in collection.judgements.items()
        if any(grade > 0 for grade in grades.values())
    ]
    if 0 < max_queries < len(query_ids):
        chosen = np.random.default_rng(seed).choice(len(query_ids), max_queries, replace=False)
        query_ids = [query_ids[index] for index in sorted(chosen)]
    document_ids = list(collection.documents)
    texts = [document.full for document in collection.documents.values()]
    ranking = Bm25Index(texts).top([collection.queries[key] for key in query_ids], depth)
    before: dict[str, dict[str, float]] = {}
    after: dict[str, dict[str, float]] = {}
    for query_id, indices in zip(query_ids, ranking, strict=True):
        candidates = [document_ids[index] for index in indices]
        scores = score(collection.queries[query_id], [texts[index] for index in indices])
        before[query_id] = {key: -float(rank) for rank, key in enumerate(candidates)}
        after[query_id] = dict(zip(candidates, map(float, scores), strict=True))
        advance(len(after), len(query_ids))
    return RerankingQuality(
        collection.name,
        len(query_ids),
        100 * ndcg_at_10(collection.judgements, before),
        100 * ndcg_at_10(collection.judgements, after),
    )


def main(argv: list[str] | None = None) -> int:
    """Measure a trained folder on collections; one JSON line each."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    model, data, *targets = arguments
    # Logits, because a sigmoid ties the best documents where it saturates.
    score = ZenReranker.from_pretrained(Path(model), activation="identity").score
    for target in targets:
        name, _, rest = target.partition(":")
        split, _, num_queries = rest.partition(":")
        quality = measure_reranking(
            load_collection(Path(data) / name, split or "test"),
            lambda query, texts: score(query, texts).tolist(),
            max_queries=int(num_queries or 0),
        )
        print(json.dumps(asdict(quality) | {"split": split or "test"}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
