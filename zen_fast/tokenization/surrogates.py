"""Texts that UTF-8 cannot carry: Python's strings may hold halves of UTF-16's surrogate pairs."""

from __future__ import annotations

import numpy as np

from zen_fast.batching import Int32Array


def repaired(text: str) -> str:
    """`text` with surrogate pairs joined, and lone surrogates as U+FFFD."""
    if _is_utf8(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def original_positions(text: str) -> Int32Array | None:
    """(len(repaired(text)) + 1,) int32: where each character stood in `text`, then its length.

    None where nothing was repaired.
    """
    if _is_utf8(text):
        return None
    return np.array(
        [index for index in range(len(text)) if not _ends_pair(text, index)] + [len(text)],
        dtype=np.int32,
    )


def _ends_pair(text: str, index: int) -> bool:
    return (
        index > 0
        and "\udc00" <= text[index] <= "\udfff"
        and "\ud800" <= text[index - 1] <= "\udbff"
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
