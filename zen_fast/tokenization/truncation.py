"""How many tokens of the query and of the document a length limit leaves."""

from __future__ import annotations

from typing import Literal, get_args

from zen_fast.errors import InvalidArgumentError

Truncation = Literal["longest_first", "only_second"]
"""Which text gives way: whichever is longer, or the document alone."""
TruncationSide = Literal["right", "left"]
"""Which end of a text is cut off."""


def check_truncation(truncation: str) -> None:
    """Refuse anything but a `Truncation`.

    Raises:
        InvalidArgumentError: it is something else.
    """
    if truncation not in get_args(Truncation):
        accepted = ", ".join(map(repr, get_args(Truncation)))
        raise InvalidArgumentError(f"truncation={truncation!r}: accepted are {accepted}")


def truncated_lengths(
    num_query_tokens: int, num_document_tokens: int, room: int, truncation: Truncation
) -> tuple[int, int]:
    """Tokens kept of the query and of the document, special tokens not counted.

    The arithmetic is that of the tokenizers library (`truncate_encodings`), odd cases included:
    `longest_first` cuts the longer text down to what the shorter one leaves, and gives both half of
    the room when even the shorter one is longer than that.

    Raises:
        InvalidArgumentError: `only_second` would have to cut the query as well.
    """
    excess = num_query_tokens + num_document_tokens - room
    if excess <= 0:
        return num_query_tokens, num_document_tokens
    if room == 0:
        return 0, 0
    if truncation == "only_second":
        if num_document_tokens <= excess:
            raise InvalidArgumentError(
                f"query has {num_query_tokens} tokens, which leaves nothing of the document within "
                f"the {room} tokens beside the special ones; truncation='only_second' may not cut "
                "the query: shorten it, raise max_length, or use truncation='longest_first'"
            )
        return num_query_tokens, num_document_tokens - excess
    shorter, longer = sorted((num_query_tokens, num_document_tokens))
    longer = shorter if shorter > room else max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = shorter + room % 2
    if num_query_tokens > num_document_tokens:
        return longer, shorter
    return shorter, longer
