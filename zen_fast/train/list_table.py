"""Many candidate lists in little room: every text once, lists as rows of these texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.train.errors import TrainingDataError

Rows = NDArray[np.int32]
NO_TEXT = -1
"""Row in the place of a candidate that a shorter list does not have."""


@dataclass(frozen=True)
class ListTable:
    """Lists of a query and its candidates."""

    texts: list[str]
    """Each once, in the order in which the lists name them."""
    queries: Rows
    """(num_lists,) rows of `texts`."""
    documents: Rows
    """(num_lists, num_candidates) rows of `texts`, `NO_TEXT` behind the end of a shorter list."""

    @classmethod
    def from_texts(cls, queries: Sequence[str], documents: Sequence[Sequence[str]]) -> ListTable:
        """Lists, given as each query's text and its candidates' texts."""
        row_of: dict[str, int] = {}

        def row(text: str) -> int:
            return row_of.setdefault(text, len(row_of))

        query_rows = np.empty(len(queries), np.int32)
        longest = max(map(len, documents), default=0)
        document_rows = np.full((len(queries), longest), NO_TEXT, np.int32)
        for index, (query, texts) in enumerate(zip(queries, documents, strict=True)):
            query_rows[index] = row(query)
            document_rows[index, : len(texts)] = [row(text) for text in texts]
        return cls(list(row_of), query_rows, document_rows)

    def __len__(self) -> int:
        return len(self.queries)

    def pairs(self, lists: NDArray[np.integer[Any]] | slice) -> tuple[Rows, Rows]:
        """Queries and documents of some lists' pairs, (num_pairs,) each, list by list.

        The candidates that shorter lists do not have are left out.
        """
        documents = self.documents[lists]
        queries = np.broadcast_to(self.queries[lists, None], documents.shape)
        shown = documents != NO_TEXT
        return queries[shown], documents[shown]

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """As arrays, which `from_columns` reads."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in self.texts]
        return {
            "text_bytes": np.frombuffer(b"".join(encoded), np.uint8),
            "text_lengths": np.array([len(text) for text in encoded], np.int32),
            "queries": self.queries,
            "documents": self.documents,
        }

    @classmethod
    def from_columns(cls, columns: dict[str, NDArray[np.generic]]) -> ListTable:
        """What `columns` gave."""
        ends = np.cumsum(columns["text_lengths"], dtype=np.int64).tolist()
        joined = columns["text_bytes"].tobytes()
        texts = [
            joined[start:end].decode("utf-8", "surrogatepass")
            for start, end in zip([0, *ends], ends, strict=False)
        ]
        return cls(
            texts,
            columns["queries"].astype(np.int32, copy=False),
            columns["documents"].astype(np.int32, copy=False),
        )


def write_columns(path: Path, columns: dict[str, NDArray[np.generic]]) -> None:
    """Write arrays compressed; the file is there only when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **columns)  # type: ignore[arg-type]
    partial.replace(path)


def read_columns(path: Path, names: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """Read what `write_columns` wrote.

    Raises:
        TrainingDataError: it is no such file, or lacks one of the `names`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingDataError(f"{path} holds no candidate lists ({error}); remove it") from error


TABLE_COLUMNS = ("text_bytes", "text_lengths", "queries", "documents")
