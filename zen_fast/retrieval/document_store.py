"""The documents of an index: JSON lines in one buffer, in memory or mapped from a file."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.retrieval.candidate import Candidate
from zen_fast.retrieval.corpus import CorpusDocument
from zen_fast.retrieval.errors import CorpusError
from zen_fast.retrieval.texts_digest import texts_digest

_LINES, _OFFSETS = "documents.jsonl", "document-offsets.npy"


class DocumentStore:
    """Documents by number, as they were added; never changed after it is made.

    One form in memory and on disk keeps a million documents in some hundred megabytes, and opens
    them at once: a document is parsed when it is asked for.
    """

    def __init__(self, lines: bytes | mmap.mmap, offsets: NDArray[np.int64]) -> None:
        """Lay documents over `lines`; the one of number i is lines[offsets[i] : offsets[i + 1]]."""
        self._lines = lines
        self._offsets = offsets

    @classmethod
    def of(cls, documents: Iterable[CorpusDocument]) -> DocumentStore:
        """A store of `documents`.

        Raises:
            CorpusError: there are none, one repeats an id, or has fields that JSON cannot hold.
        """
        return cls(b"", np.zeros(1, dtype=np.int64)).with_more(documents)

    def with_more(self, documents: Iterable[CorpusDocument]) -> DocumentStore:
        """A store of these and `documents`; raises as `of`."""
        lines, ends = bytearray(self._lines[:]), []
        ids = set(self.ids())
        for document in documents:
            if document.id in ids:
                raise CorpusError(f"document id {document.id!r} occurs twice; ids must differ")
            ids.add(document.id)
            lines += _line(document)
            ends.append(len(lines))
        if not ids:
            raise CorpusError("the corpus is empty; an index needs one document at least")
        return DocumentStore(bytes(lines), np.append(self._offsets, np.array(ends, dtype=np.int64)))

    @classmethod
    def load(cls, folder: Path) -> DocumentStore:
        """What `save` wrote, mapped from its files."""
        with (folder / _LINES).open("rb") as file:
            lines = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(lines, np.load(folder / _OFFSETS, mmap_mode="r"))

    def save(self, folder: Path) -> None:
        """Write two files into `folder`."""
        (folder / _LINES).write_bytes(self._lines)
        np.save(folder / _OFFSETS, self._offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def candidate(self, number: int, score: float) -> Candidate:
        """The document of that number as a retriever's find."""
        document_id, text, fields = self._row(number)
        return Candidate(document_id, text, score, fields)

    def ids(self) -> Iterator[str]:
        """Every id, in order."""
        return (self._row(number)[0] for number in range(len(self)))

    def texts(self, start: int = 0, stop: int | None = None) -> list[str]:
        """The texts of the documents [start, stop)."""
        numbers = range(start, len(self) if stop is None else stop)
        return [self._row(number)[1] for number in numbers]

    def texts_digest(self) -> str:
        """`texts_digest` of every text, in order."""
        return texts_digest(self._row(number)[1] for number in range(len(self)))

    def _row(self, number: int) -> Any:
        start, stop = self._offsets[number : number + 2]
        return json.loads(self._lines[start:stop].decode("utf-8", "surrogatepass"))


def _line(document: CorpusDocument) -> bytes:
    row = [document.id, document.text, dict(document.fields)]
    try:
        line = json.dumps(row, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise CorpusError(
            f"document {document.id!r} has a field that JSON cannot hold: {error}"
        ) from error
    return line.encode("utf-8", "surrogatepass") + b"\n"
