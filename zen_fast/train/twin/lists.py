"""Unjudged candidate lists: queries of collections with documents near and far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zen_fast.candidates import bm25_requests
from zen_fast.collection import Collection
from zen_fast.train.errors import TrainingDataError

DEPTH = 100
_NUM_TOP, _TOP = 4, 10
_NUM_DEEP = 4
_NUM_RANDOM = 1


@dataclass(frozen=True)
class UnjudgedList:
    """A query with documents that a teacher has an opinion about."""

    query: str
    documents: tuple[str, ...]


def unjudged_lists(
    collections: Sequence[Collection], queries_per_collection: int, rng: np.random.Generator
) -> list[UnjudgedList]:
    """Lists of some of BM25's best documents, some of its other candidates, and a random one.

    Args:
        queries_per_collection: at most so many of each, drawn at random.

    Raises:
        TrainingDataError: no query has candidates enough for a list.
    """
    lists: list[UnjudgedList] = []
    for collection in collections:
        query_ids = sorted(collection.queries)
        rng.shuffle(query_ids)
        texts = [document.full for document in collection.documents.values()]
        for request in bm25_requests(collection, query_ids[:queries_per_collection], DEPTH):
            ranked = request.documents
            if len(ranked) < _TOP + _NUM_DEEP:
                continue
            chosen = [
                *rng.choice(_TOP, _NUM_TOP, replace=False),
                *rng.choice(np.arange(_TOP, len(ranked)), _NUM_DEEP, replace=False),
            ]
            random = [texts[index] for index in rng.integers(len(texts), size=_NUM_RANDOM)]
            lists.append(UnjudgedList(request.query, (*(ranked[i] for i in chosen), *random)))
    if not lists:
        raise TrainingDataError(
            f"none of the queries of {', '.join(each.name for each in collections)} has "
            f"{_TOP + _NUM_DEEP} candidates; give a larger collection"
        )
    order = rng.permutation(len(lists))
    return [lists[index] for index in order]
