"""What a student reads while it is distilled: queries and passages, drawn anew for each step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.recipe import Recipe
from zen_fast.train.texts import keywords, split_sentences

_SENTENCE_SHARE = 0.3
"""Of the queries: sentences of documents, because people also search by statements."""
_MAX_SENTENCE_WORDS = 32


class Material:
    """The queries and documents of collections; a text hardly ever comes twice.

    Args:
        collections: of which everything is read.
        recipe: for the lengths of passages, the shares of titles and keywords, and the seed.
    """

    def __init__(self, collections: Sequence[Collection], recipe: Recipe) -> None:
        self._recipe = recipe
        self._queries = [query for part in collections for query in part.queries.values()]
        self._documents = [
            (document.title, sentences)
            for part in collections
            for document in part.documents.values()
            if (sentences := split_sentences(document.text))
        ]

    def draw(self, step: int) -> tuple[list[str], list[str]]:
        """The queries and the passages of a step, as many of each; the same whenever it is asked.

        Half of the recipe's `distillation_texts` each.
        """
        rng = np.random.default_rng([self._recipe.seed, step])
        half = range(self._recipe.distillation_texts // 2)
        return [self._query(rng) for _ in half], [self._passage(rng) for _ in half]

    def _query(self, rng: np.random.Generator) -> str:
        if rng.random() < _SENTENCE_SHARE:
            _, sentences = self._document(rng)
            words = sentences[rng.integers(len(sentences))].split()
            return " ".join(words[:_MAX_SENTENCE_WORDS])
        query = self._queries[rng.integers(len(self._queries))]
        if rng.random() < self._recipe.keyword_share:
            return keywords(query)
        return query

    def _passage(self, rng: np.random.Generator) -> str:
        title, sentences = self._document(rng)
        num_words = int(rng.choice(self._recipe.passage_words))
        start = rng.integers(len(sentences))
        words = " ".join(sentences[start : start + num_words]).split()[:num_words]
        if rng.random() >= self._recipe.title_share:
            title = ""
        return CollectionDocument(title, " ".join(words)).full

    def _document(self, rng: np.random.Generator) -> tuple[str, list[str]]:
        return self._documents[rng.integers(len(self._documents))]
