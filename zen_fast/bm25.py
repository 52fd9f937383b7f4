"""BM25 over a list of texts: the first stage that brings a reranker its candidates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zen_fast.errors import MissingDependencyError

try:
    import bm25s
    import Stemmer
except ImportError as error:
    raise MissingDependencyError(
        f"BM25 needs {error.name}: pip install zen-fast[retrieval]"
    ) from error


class Bm25Index:
    """BM25 (k1 0.9, b 0.4) with English stemming and stop words."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._stemmer = Stemmer.Stemmer("english")
        self._num_texts = len(texts)
        self._bm25 = bm25s.BM25(k1=0.9, b=0.4)
        self._bm25.index(self._tokenize(texts), show_progress=False)

    def top(self, queries: Sequence[str], k: int) -> list[list[int]]:
        """Indices of each query's best texts, best first; texts that share no word are left out."""
        indices: npt.NDArray[np.int64]
        indices, scores = self._bm25.retrieve(
            self._tokenize(queries), k=min(k, self._num_texts), show_progress=False
        )
        return [
            row[row_scores > 0].tolist() for row, row_scores in zip(indices, scores, strict=True)
        ]

    def scores(self, query: str) -> npt.NDArray[np.float32]:
        """BM25 of `query` and every text, (num_texts,); 0 where no word is shared."""
        (tokens,) = self._tokenize([query], return_ids=False)
        if not tokens:
            return np.zeros(self._num_texts, np.float32)
        scores: npt.NDArray[np.float32] = self._bm25.get_scores(tokens)
        return scores

    def _tokenize(self, texts: Sequence[str], return_ids: bool = True) -> Any:
        return bm25s.tokenize(
            list(texts),
            stopwords="en",
            stemmer=self._stemmer,
            return_ids=return_ids,
            show_progress=False,
        )
