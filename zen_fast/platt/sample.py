"""What a scaling is fitted on: a collection's queries with relevant documents and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zen_fast.candidates import Request, answerable_queries, bm25_requests, sample_queries
from zen_fast.collection import Collection
from zen_fast.errors import InvalidArgumentError
from zen_fast.platt.fitting import LabelledLogits

_DEPTH = 20
_NUM_RANDOM = 5
"""Most have nothing to do with the query: a first stage never shows such documents, users may."""


def requests_of(collection: Collection, num_queries: int, seed: int) -> Sequence[Request]:
    """Queries with BM25's best documents, a few at random, and a relevant one where none is there.

    Raises:
        InvalidArgumentError: no query has a relevant document and another.
    """
    rng = np.random.default_rng(seed)
    documents = list(collection.documents)
    query_ids = sample_queries(answerable_queries(collection), num_queries, seed)
    requests = [
        _completed(
            request,
            collection,
            [documents[row] for row in rng.integers(len(documents), size=_NUM_RANDOM)],
            rng,
        )
        for request in bm25_requests(collection, query_ids, _DEPTH)
    ]
    if not any(0 < sum(_relevant(each, collection)) < len(each.documents) for each in requests):
        raise InvalidArgumentError(
            f"{collection.name} has no query with a relevant document and another; name another "
            "collection or split"
        )
    return requests


def score(
    name: str,
    collection: Collection,
    requests: Sequence[Request],
    logits: Callable[[str, Sequence[str]], NDArray[np.float32]],
) -> LabelledLogits:
    """Score the requests; what is not judged counts as not relevant.

    Args:
        name: the collection's, with its split.
        logits: of a query's documents.
    """
    scores = [logits(request.query, request.documents) for request in requests]
    relevant = [_relevant(request, collection) for request in requests]
    return LabelledLogits(
        name,
        len(requests),
        np.concatenate(scores, dtype=np.float64),
        np.concatenate([np.asarray(each, np.bool_) for each in relevant]),
    )


def _completed(
    request: Request, collection: Collection, others: Sequence[str], rng: np.random.Generator
) -> Request:
    document_ids = list(dict.fromkeys([*request.document_ids, *others]))
    grades = collection.judgements[request.query_id]
    relevant = [key for key, grade in grades.items() if grade > 0]
    if not set(relevant) & set(document_ids):
        document_ids.append(str(rng.choice(relevant)))
    return replace(
        request,
        document_ids=tuple(document_ids),
        documents=tuple(collection.documents[key].full for key in document_ids),
    )


def _relevant(request: Request, collection: Collection) -> list[bool]:
    grades = collection.judgements[request.query_id]
    return [grades.get(key, 0) > 0 for key in request.document_ids]
