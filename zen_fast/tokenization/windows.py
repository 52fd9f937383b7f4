"""Long documents in overlapping windows: where to cut, which to keep, what each one shows."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

import numpy as np

from zen_fast.batching import Int32Array, TokenizedPair
from zen_fast.errors import InvalidArgumentError, InvalidTypeError
from zen_fast.tokenization.truncation import Truncation

LongDocuments = Literal["truncate", "chunk"]
"""What becomes of a document that does not fit: cut off, or read in overlapping windows."""

LONG_DOCUMENTS: tuple[str, ...] = get_args(LongDocuments)

DEFAULT_WINDOW_OVERLAP = 0.25


@dataclass(frozen=True)
class Window:
    """A query with one window of a document."""

    pair: TokenizedPair
    span: tuple[int, int]
    """Characters [start, end) of the document that the window shows."""


@dataclass(frozen=True)
class WindowSettings:
    """How documents are cut into windows.

    Args:
        overlap: share of a window that the next one repeats at least, from 0 up to below 1.
        max_windows: most windows read of one document; None for all of them.

    Raises:
        InvalidArgumentError, InvalidTypeError: a setting is not accepted.
    """

    overlap: float = DEFAULT_WINDOW_OVERLAP
    max_windows: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.overlap, bool) or not isinstance(self.overlap, Real):
            raise InvalidTypeError(
                f"window_overlap is a {type(self.overlap).__name__}; pass a share such as "
                f"{DEFAULT_WINDOW_OVERLAP}"
            )
        if not 0 <= self.overlap < 1:
            raise InvalidArgumentError(
                f"window_overlap={self.overlap}: it is the share of a window that the next one "
                "repeats, and must be at least 0 and below 1"
            )
        if self.max_windows is None:
            return
        if isinstance(self.max_windows, bool) or not isinstance(self.max_windows, Integral):
            raise InvalidTypeError(
                f"max_windows is a {type(self.max_windows).__name__}; pass a whole number, or None "
                "to read every window"
            )
        if self.max_windows < 1:
            raise InvalidArgumentError(
                f"max_windows={self.max_windows}: it must be at least 1, or None to read every "
                "window"
            )

    def cut(self, num_tokens: int, longest: int) -> list[slice]:
        """The fewest windows of at most `longest` tokens that cover a document, in order.

        They are equally long, and only as long as the overlap needs: a document of 1.2 windows is
        read as two windows of 0.73, not as two that repeat most of each other, nor as a whole one
        and a sliver. Scores of windows are compared with each other, which is fairer among equals,
        and no token is computed that nobody asked for.
        """
        if num_tokens <= longest:
            return [slice(0, num_tokens)]
        overlap = int(self.overlap * longest)
        num_steps = -(-(num_tokens - longest) // (longest - overlap))
        length = -(-(num_tokens + num_steps * overlap) // (num_steps + 1))
        starts = (step * (num_tokens - length) // num_steps for step in range(num_steps + 1))
        return [slice(start, start + length) for start in starts]

    def choose(
        self, windows: list[slice], document_ids: Int32Array, query_ids: Int32Array
    ) -> list[slice]:
        """The `max_windows` windows that share most distinct tokens with the query, in order.

        The earlier one wins a tie. A first, free look that decides what the model reads: the
        intra-document cascade of Hofstätter et al., "Intra-Document Cascading: Learning to Select
        Passages for Neural Document Ranking", SIGIR 2021, with word matching in the place of their
        small model.
        """
        if self.max_windows is None or len(windows) <= self.max_windows:
            return windows
        tokens = np.unique(query_ids)
        num_shared = [
            np.count_nonzero((document_ids[each] == tokens[:, None]).any(axis=1))
            for each in windows
        ]
        best = sorted(range(len(windows)), key=lambda index: -num_shared[index])
        return [windows[index] for index in sorted(best[: self.max_windows])]


def query_beside_windows(
    num_query_tokens: int, num_document_tokens: int, room: int, truncation: Truncation
) -> int:
    """Tokens kept of the query: all of them, unless it leaves windows under a quarter of the room.

    Such a query gives way to that quarter, or to the whole document where that is shorter.

    Raises:
        InvalidArgumentError: it would have to, and truncation is "only_second".
    """
    least_for_document = min(num_document_tokens, -(-room // 4))
    if num_query_tokens + least_for_document <= room:
        return num_query_tokens
    if truncation == "only_second":
        raise InvalidArgumentError(
            f"query has {num_query_tokens} tokens, which leaves windows of less than a quarter of "
            f"the {room} tokens beside the special ones; truncation='only_second' may not cut the "
            "query: shorten it, raise max_length, or use truncation='longest_first'"
        )
    return room - least_for_document


def shown_characters(document: str, token_starts: Int32Array, window: slice) -> tuple[int, int]:
    """Characters [start, end) of `document` that `window` shows: all, or no white space around.

    Args:
        token_starts: (num_tokens,) int32, the first character of each token of the document.
    """
    if window.stop - window.start == len(token_starts):
        return 0, len(document)
    start = int(token_starts[window.start]) if window.start else 0
    # Up to the next token, so that what the tokenizer drops (a combining accent) stays with its
    # word, and what it puts there itself (SentencePiece's word mark) shows nothing.
    end = int(token_starts[window.stop]) if window.stop < len(token_starts) else len(document)
    shown = document[start:end]
    start += len(shown) - len(shown.lstrip())
    return start, start + len(shown.strip())
