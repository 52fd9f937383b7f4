"""What a reranker is asked on a judged collection: a query with its first-stage candidates."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zen_fast.collection import Collection

if TYPE_CHECKING:
    from zen_fast.bm25 import Bm25Index


@dataclass(frozen=True)
class Request:
    """One query with the documents to score."""

    query_id: str
    query: str
    document_ids: tuple[str, ...]
    documents: tuple[str, ...]


def answerable_queries(collection: Collection) -> list[str]:
    """Sorted ids of the queries with a relevant document; others say nothing about a ranking."""
    return sorted(
        query_id
        for query_id, grades in collection.judgements.items()
        if any(grade > 0 for grade in grades.values())
    )


def sample_queries(query_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """So many of them at random; all of them, in their order, where there are no more."""
    if count >= len(query_ids):
        return list(query_ids)
    return random.Random(seed).sample(query_ids, count)


def bm25_requests(
    collection: Collection, query_ids: Sequence[str], depth: int
) -> tuple[Request, ...]:
    """Each query with BM25's best `depth` documents, best first.

    A query that shares no word with any document has no candidates and is left out.
    """
    document_ids = list(collection.documents)
    texts = [document.full for document in collection.documents.values()]
    ranking = _index(texts).top([collection.queries[key] for key in query_ids], depth)
    return tuple(
        Request(
            query_id,
            collection.queries[query_id],
            tuple(document_ids[index] for index in indices),
            tuple(texts[index] for index in indices),
        )
        for query_id, indices in zip(query_ids, ranking, strict=True)
        if indices
    )


def judged_requests(collection: Collection, query_ids: Sequence[str]) -> tuple[Request, ...]:
    """Each query with the documents judged for it, relevant or not, as BM25 ranks them."""
    requests = []
    for query_id in query_ids:
        pool = list(collection.judgements[query_id])
        texts = [collection.documents[key].full for key in pool]
        found = _index(texts).top([collection.queries[query_id]], len(pool))[0]
        sharing = set(found)
        order = found + [index for index in range(len(pool)) if index not in sharing]
        requests.append(
            Request(
                query_id,
                collection.queries[query_id],
                tuple(pool[index] for index in order),
                tuple(texts[index] for index in order),
            )
        )
    return tuple(requests)


def _index(texts: Sequence[str]) -> Bm25Index:
    # Requests that are cut from running text need no first stage, and no package for one.
    from zen_fast.bm25 import Bm25Index

    return Bm25Index(texts)
