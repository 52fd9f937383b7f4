"""The passages of one collection, what candidate lists are made of, and the teacher's opinion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zen_fast.bm25 import Bm25Index
from zen_fast.collection import CollectionDocument
from zen_fast.train.teacher import Scores
from zen_fast.train.texts import cut_passages

Embed = Callable[[Sequence[str]], Scores]
"""Turns texts into (num_texts, hidden) unit vectors."""


@dataclass(frozen=True)
class Rating:
    """What the two halves of the teacher say about a query and every passage."""

    cosines: Scores
    """(num_passages,) bi-encoder's cosine."""
    bm25: Scores
    """(num_passages,) BM25 as a share of the query's best passage."""

    def teacher_logits(
        self, rows: Sequence[int], cosine_temperature: float, bm25_temperature: float
    ) -> Scores:
        """(num_rows,) the hybrid score that the training loss turns into a softmax."""
        cosines, bm25 = self.cosines[rows], self.bm25[rows]
        return cosines / cosine_temperature + bm25 / bm25_temperature


class PassagePool:
    """Documents cut into passages of mixed lengths, each rated as exactly the text it shows.

    A cross-encoder that is shown a part of a document must not be told how good the whole is.
    """

    def __init__(
        self,
        documents: Mapping[str, CollectionDocument],
        passage_words: Sequence[int],
        title_share: float,
        embed: Embed,
        rng: np.random.Generator,
    ) -> None:
        """Cut, index and embed.

        Args:
            passage_words: passage lengths in words, drawn evenly.
            title_share: share of the passages that begin with their document's title.
        """
        self.texts: list[str] = []
        """What a candidate shows."""
        self.bodies: list[str] = []
        """The same without the title, where there is one."""
        self.rows: dict[str, list[int]] = {}
        """Document id → its passages, as rows of `texts`."""
        for document_id, document in documents.items():
            passages = cut_passages(document.text, lambda: int(rng.choice(passage_words)))
            self.rows[document_id] = []
            for passage in passages or [""]:
                title = document.title if not passage or rng.random() < title_share else ""
                self.rows[document_id].append(len(self.texts))
                self.texts.append(CollectionDocument(title, passage).full)
                self.bodies.append(passage)
        self._bm25 = Bm25Index(self.texts)
        self._embeddings = embed(self.texts)

    def rate(self, queries: Sequence[str], query_embeddings: Scores) -> Iterator[Rating]:
        """Rate every passage for each query; queries are multiplied with the pool at once."""
        for query, cosines in zip(queries, query_embeddings @ self._embeddings.T, strict=True):
            bm25 = self._bm25.scores(query)
            yield Rating(cosines, bm25 / max(float(bm25.max()), 1e-9))
