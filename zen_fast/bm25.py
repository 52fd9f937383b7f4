"""BM25 over a list of texts: the first stage that brings a reranker its candidates."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install

# bm25s sets its logger to DEBUG on import, which tells every application of each empty query; any
# other level is what the application chose.
_bm25s_logger = logging.getLogger("bm25s")
_level_unless_configured = logging.DEBUG if "bm25s" in sys.modules else logging.NOTSET
_level_before = _bm25s_logger.level

try:
    import bm25s
    import Stemmer
except ImportError as error:
    raise MissingDependencyError(f"BM25 needs {error.name}: {install('retrieval')}") from error

_bm25s_logger.setLevel(
    logging.WARNING if _level_before == _level_unless_configured else _level_before
)

_K1, _B = 0.9, 0.4
_FOLDER = "bm25"
_NO_WORD = "\0"


class Bm25Index:
    """BM25 (k1 0.9, b 0.4) with English stemming and stop words."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._bm25 = bm25s.BM25(k1=_K1, b=_B)
        tokens = _tokenize(texts)
        if not any(tokens.ids):  # bm25s needs a word: one that no query can have
            tokens = [[_NO_WORD] for _ in texts]
        self._bm25.index(tokens, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> Bm25Index:
        """What `save` wrote; the scores are mapped from their files."""
        index = cls.__new__(cls)
        index._bm25 = bm25s.BM25.load(folder / _FOLDER, mmap=True, show_progress=False)
        return index

    def save(self, folder: Path) -> None:
        """Write a folder of its own into `folder`."""
        self._bm25.save(folder / _FOLDER, show_progress=False)

    def search(
        self, queries: Sequence[str], k: int
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Indices of each query's best `k` texts and their scores, best first.

        Texts that share no word with the query are left out.
        """
        if not queries:
            return []
        indices, scores = self._bm25.retrieve(
            _tokenize(queries), k=min(k, self._num_texts), show_progress=False
        )
        return [
            (row[row_scores > 0].astype(np.int64), row_scores[row_scores > 0])
            for row, row_scores in zip(indices, scores, strict=True)
        ]

    def top(self, queries: Sequence[str], k: int) -> list[list[int]]:
        """The indices of `search` alone."""
        return [indices.tolist() for indices, _ in self.search(queries, k)]

    def scores(self, query: str) -> NDArray[np.float32]:
        """BM25 of `query` and every text, (num_texts,); 0 where no word is shared."""
        (tokens,) = _tokenize([query], return_ids=False)
        if not tokens:
            return np.zeros(self._num_texts, np.float32)
        scores: NDArray[np.float32] = self._bm25.get_scores(tokens)
        return scores

    @property
    def _num_texts(self) -> int:
        return int(self._bm25.scores["num_docs"])


def _tokenize(texts: Sequence[str], return_ids: bool = True) -> Any:
    return bm25s.tokenize(
        list(texts),
        stopwords="en",
        stemmer=Stemmer.Stemmer("english"),  # of its own: a stemmer is not safe under threads
        return_ids=return_ids,
        show_progress=False,
    )
