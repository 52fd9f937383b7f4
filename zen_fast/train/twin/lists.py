"""Unjudged candidate lists: queries of collections with documents near and far."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zen_fast.candidates import bm25_requests
from zen_fast.collection import Collection
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.list_table import TABLE_COLUMNS, ListTable, read_columns, write_columns

DEPTH = 100
_NUM_TOP, _TOP = 4, 10
_NUM_DEEP = 4
_NUM_RANDOM = 1


def unjudged_lists(
    collections: Sequence[Collection], num_queries: Sequence[int], rng: np.random.Generator
) -> ListTable:
    """Lists of some of BM25's best documents, some of its other candidates, and a random one.

    Args:
        num_queries: at most so many of each collection, drawn at random.

    Raises:
        TrainingDataError: no query has candidates enough for a list.
    """
    queries: list[str] = []
    documents: list[list[str]] = []
    for collection, count in zip(collections, num_queries, strict=True):
        query_ids = sorted(collection.queries)
        rng.shuffle(query_ids)
        texts = [document.full for document in collection.documents.values()]
        for request in bm25_requests(collection, query_ids[:count], DEPTH):
            ranked = request.documents
            if len(ranked) < _TOP + _NUM_DEEP:
                continue
            chosen = [
                *rng.choice(_TOP, _NUM_TOP, replace=False),
                *rng.choice(np.arange(_TOP, len(ranked)), _NUM_DEEP, replace=False),
            ]
            random = [texts[index] for index in rng.integers(len(texts), size=_NUM_RANDOM)]
            queries.append(request.query)
            documents.append([*(ranked[i] for i in chosen), *random])
    if not queries:
        raise TrainingDataError(
            f"none of the queries of {', '.join(each.name for each in collections)} has "
            f"{_TOP + _NUM_DEEP} candidates; give a larger collection"
        )
    order = rng.permutation(len(queries)).tolist()
    return ListTable.from_texts([queries[i] for i in order], [documents[i] for i in order])


def write_lists(path: Path, lists: ListTable) -> None:
    """Write one compressed file."""
    write_columns(path, lists.columns())


def read_lists(path: Path) -> ListTable:
    """Read what `write_lists` wrote.

    Raises:
        TrainingDataError: it is no such file.
    """
    return ListTable.from_columns(read_columns(path, TABLE_COLUMNS))
