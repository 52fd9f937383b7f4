"""Candidate lists, the unit of training: one query, one relevant passage, others to compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zen_fast.train.list_table import (
    NO_TEXT,
    TABLE_COLUMNS,
    ListTable,
    read_columns,
    write_columns,
)


@dataclass(frozen=True)
class CandidateList:
    """A query and its candidates, as texts."""

    query: str
    documents: list[str]
    """(num_candidates) what the cross-encoder reads."""
    grades: list[int]
    """(num_candidates) judged grade, 0 for not relevant."""
    cosines: list[float]
    """(num_candidates) bi-encoder's cosine of query and document; empty in a dev list."""
    bm25: list[float]
    """(num_candidates) BM25 as a share of the query's best passage; empty in a dev list."""


@dataclass(frozen=True)
class RatedLists:
    """Candidate lists as arrays, (num_lists, num_candidates) each; 0 where a list is shorter."""

    table: ListTable
    grades: NDArray[np.int16]
    cosines: NDArray[np.float16]
    bm25: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.table)

    def as_lists(self) -> list[CandidateList]:
        """The same as texts."""
        texts = self.table.texts
        return [
            CandidateList(
                texts[query],
                [texts[row] for row in documents if row != NO_TEXT],
                *(column[index][documents != NO_TEXT].tolist() for column in self._ratings()),
            )
            for index, (query, documents) in enumerate(
                zip(self.table.queries, self.table.documents, strict=True)
            )
        ]

    def write(self, path: Path) -> None:
        """Write one compressed file."""
        grades, cosines, bm25 = self._ratings()
        ratings = {"grades": grades, "cosines": cosines, "bm25": bm25}
        write_columns(path, {**self.table.columns(), **ratings})

    @classmethod
    def read(cls, path: Path) -> RatedLists:
        """Read what `write` wrote.

        Raises:
            TrainingDataError: it is no such file.
        """
        columns = read_columns(path, (*TABLE_COLUMNS, "grades", "cosines", "bm25"))
        return cls(
            ListTable.from_columns(columns),
            columns["grades"].astype(np.int16),
            columns["cosines"].astype(np.float16),
            columns["bm25"].astype(np.float16),
        )

    def _ratings(
        self,
    ) -> tuple[NDArray[np.int16], NDArray[np.float16], NDArray[np.float16]]:
        return self.grades, self.cosines, self.bm25


def rated_lists(lists: Sequence[CandidateList]) -> RatedLists:
    """Lists of texts as arrays."""
    table = ListTable.from_texts([item.query for item in lists], [item.documents for item in lists])
    shape = table.documents.shape
    return RatedLists(
        table,
        _padded((item.grades for item in lists), shape).astype(np.int16),
        _padded((item.cosines for item in lists), shape).astype(np.float16),
        _padded((item.bm25 for item in lists), shape).astype(np.float16),
    )


def _padded(rows: Iterable[Sequence[float]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = np.zeros(shape, np.float32)
    for index, row in enumerate(rows):
        values[index, : len(row)] = row
    return values
