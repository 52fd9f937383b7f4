"""What a retriever finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, eq=False)
class Candidate(Mapping[str, Any]):
    """One retrieved document, best first in its list.

    It is a mapping of `id`, `text`, `score` and the document's other fields, so that a reranker
    takes it as it is.
    """

    id: str
    text: str
    score: float
    """BM25's score, the similarity of embeddings, or the fused score of both."""
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name) if name in _OWN else self.fields[name]

    def __iter__(self) -> Iterator[str]:
        yield from _OWN
        yield from (name for name in self.fields if name not in _OWN)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_OWN = ("id", "text", "score")
