"""What users pass in as queries and documents, and what they get back from a ranking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from zen_fast.errors import InvalidTypeError

Document = str | Mapping[str, Any]
"""A text, or a mapping whose `text` is scored.

The other fields ride along untouched. A `title` is not joined to the text: a caller who wants it
scored puts it into `text`, the way the model was trained.
"""

TEXT_FIELD = "text"


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """One line of a ranking."""

    index: int
    """Position of the document in the list that was passed in."""
    score: float
    document: Document
    """The very object that was passed in."""
    window: tuple[int, int] | None = None
    """Characters [start, end) of its text that the score is of, where long documents are read in
    windows."""


def query_text(query: object, name: str = "query") -> str:
    """`query`, checked to be a string.

    Raises:
        InvalidTypeError: it is anything else; the message calls it `name`.
    """
    if not isinstance(query, str):
        raise InvalidTypeError(f"{name} is {_kind(query)}; pass a string")
    return str(query)


def optional_text(text: object, name: str) -> str | None:
    """`text`, checked as `query_text` does; None stays None."""
    return None if text is None else query_text(text, name)


def query_list(queries: object, name: str = "queries") -> list[str]:
    """The strings in the list `queries`.

    Raises:
        InvalidTypeError: it is no list, or one of its items is no string.
    """
    items = as_list(queries, name, "strings")
    return [query_text(query, f"{name}[{index}]") for index, query in enumerate(items)]


def document_texts(documents: Iterable[object], name: str = "documents") -> list[str]:
    """The text of each document, in order.

    Raises:
        InvalidTypeError: one of them is neither a string nor a mapping with a string as `text`; the
            message names it by `name` and index.
    """
    return [document_text(document, f"{name}[{i}]") for i, document in enumerate(documents)]


def document_text(document: object, name: str = "document") -> str:
    """The text that is scored for one document; see `document_texts`."""
    text = document
    if isinstance(document, Mapping):
        if TEXT_FIELD not in document:
            fields = ", ".join(map(repr, document)) or "none"
            raise InvalidTypeError(
                f"{name} has no {TEXT_FIELD!r} field (its fields: {fields}); put what is to be "
                f"scored under {TEXT_FIELD!r}"
            )
        text, name = document[TEXT_FIELD], f"{name}[{TEXT_FIELD!r}]"
    if not isinstance(text, str):
        raise InvalidTypeError(
            f"{name} is {_kind(text)}; pass a string, or a mapping with a string as {TEXT_FIELD!r}"
        )
    return str(text)


def as_list(items: object, name: str, content: str) -> list[Any]:
    """`items` as a list.

    Raises:
        InvalidTypeError: it is a single text or mapping, or cannot be iterated.
    """
    if isinstance(items, (str, bytes, Mapping)):
        raise InvalidTypeError(
            f"{name} is {_kind(items)} where a list of {content} is expected; wrap it in a list: "
            f"{name}=[...]"
        )
    if not isinstance(items, Iterable):
        raise InvalidTypeError(f"{name} is {_kind(items)}; pass a list of {content}")
    return list(items)


def _kind(value: object) -> str:
    if value is None:
        return "None"
    if isinstance(value, bytes):
        return "bytes (decode it first)"
    name = type(value).__name__
    article = "an" if name[0] in "aeiouAEIOU" else "a"
    return f"{article} {name}"
