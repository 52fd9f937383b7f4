"""Documents as the model reads them: one sequence each, or several windows of a long one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import TokenizedPair
from zen_fast.tokenization import Window

Spans = NDArray[np.int32]
"""(n, 2) int32: for each document or window the characters [start, end) that it stands for."""


@dataclass(frozen=True)
class PairScores:
    """What a model says of (query, document) pairs."""

    logits: NDArray[np.float32]
    """(num_pairs, num_labels) fp32"""
    spans: Spans | None
    """(num_pairs, 2), the best window of each document; None where documents are not windowed."""
    is_cached: NDArray[np.bool_] | None = None
    """(num_pairs,), pairs that the score cache knew; None for none of them."""

    @property
    def num_cached(self) -> int:
        return 0 if self.is_cached is None else int(self.is_cached.sum())

    @staticmethod
    def empty(num_pairs: int, num_labels: int, has_spans: bool) -> PairScores:
        """Room for the scores of so many pairs."""
        return PairScores(
            np.empty((num_pairs, num_labels), dtype=np.float32),
            np.empty((num_pairs, 2), dtype=np.int32) if has_spans else None,
        )

    def part(self, first: int, last: int) -> PairScores:
        """The scores of pairs [first, last)."""
        return PairScores(
            self.logits[first:last],
            None if self.spans is None else self.spans[first:last],
            None if self.is_cached is None else self.is_cached[first:last],
        )

    def put(self, where: slice | Sequence[int] | NDArray[np.intp], part: PairScores) -> None:
        """Write `part` over the pairs at `where`."""
        self.logits[where] = part.logits
        if self.spans is not None and part.spans is not None:
            self.spans[where] = part.spans


@dataclass(frozen=True)
class EncodedPairs:
    """(query, document) pairs as sequences of tokens."""

    sequences: list[TokenizedPair]
    first_window: NDArray[np.intp] | None = None
    """(num_pairs + 1,): sequences [first_window[i], first_window[i + 1]) are the windows of pair i;
    None where every pair is one sequence."""
    spans: Spans | None = None
    """(num_sequences, 2), given exactly where `first_window` is."""

    @property
    def num_pairs(self) -> int:
        return len(self.sequences) if self.first_window is None else len(self.first_window) - 1

    def num_tokens(self) -> NDArray[np.intp]:
        """Tokens of each pair, all its windows together: (num_pairs,)."""
        lengths = np.fromiter(map(len, self.sequences), dtype=np.intp, count=len(self.sequences))
        if self.first_window is None:
            return lengths
        return np.add.reduceat(lengths, self.first_window[:-1])

    def head(self, num_pairs: int) -> EncodedPairs:
        """The first `num_pairs` of them."""
        if self.first_window is None or self.spans is None:
            return EncodedPairs(self.sequences[:num_pairs])
        last = int(self.first_window[num_pairs])
        return EncodedPairs(
            self.sequences[:last], self.first_window[: num_pairs + 1], self.spans[:last]
        )

    def scores(self, logits: NDArray[np.float32]) -> PairScores:
        """From the logits of the sequences to those of the pairs: the highest of a pair's windows.

        Args:
            logits: (num_sequences, num_labels); one label where there are windows.
        """
        if self.first_window is None or self.spans is None:
            return PairScores(logits, None)
        best = [
            first + int(np.argmax(logits[first:last, 0]))
            for first, last in zip(self.first_window[:-1], self.first_window[1:], strict=True)
        ]
        return PairScores(logits[best], self.spans[best])


def windowed(documents: Sequence[Sequence[Window]]) -> EncodedPairs:
    """Pairs of which each has been cut into the windows of its document."""
    windows = [window for document in documents for window in document]
    first_window = np.zeros(len(documents) + 1, dtype=np.intp)
    np.cumsum([len(document) for document in documents], out=first_window[1:])
    return EncodedPairs(
        [window.pair for window in windows],
        first_window,
        np.array([window.span for window in windows], dtype=np.int32).reshape(-1, 2),
    )
