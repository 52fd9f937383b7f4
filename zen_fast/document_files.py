"""Documents in files: one per line, as plain text or JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from zen_fast.documents import TEXT_FIELD
from zen_fast.errors import InvalidArgumentError

Format = Literal["text", "jsonl"]

JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
STDIN = "-"


@dataclass(frozen=True)
class FileDocument:
    """One document of a file."""

    line: int
    """Line in the file, from 1."""
    text: str
    content: Any
    """The line itself, or what its JSON says."""


def read_documents(
    path: str, file_format: Format | None = None, text_field: str = TEXT_FIELD
) -> list[FileDocument]:
    """The documents of a file, one per line; blank lines are skipped.

    Args:
        path: "-" for stdin.
        file_format: None goes by the suffix: .jsonl, .ndjson and .json are JSON lines.
        text_field: field of a JSON object that is scored; a JSON string is a document too.

    Raises:
        InvalidArgumentError: the file cannot be read, is not UTF-8, or a line is no such JSON; the
            message names file and line.
    """
    if file_format is None:
        file_format = "jsonl" if Path(path).suffix.lower() in JSON_SUFFIXES else "text"
    name = "stdin" if path == STDIN else path
    try:
        with _opened(path) as stream:
            lines = list(_lines(stream, name))
    except OSError as error:
        raise InvalidArgumentError(f"cannot read {name}: {error.strerror or error}") from error
    if file_format == "text":
        return [FileDocument(number, line, line) for number, line in lines]
    return [_json_document(line, number, name, text_field) for number, line in lines]


def _opened(path: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if path == STDIN:
        return contextlib.nullcontext(sys.stdin.buffer)
    return Path(path).open("rb")


def _lines(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(stream, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InvalidArgumentError(
                f"{name}, line {number} is not UTF-8 at byte {error.start}; convert the file first"
            ) from error
        if line.strip():
            yield number, line


def _json_document(line: str, number: int, name: str, text_field: str) -> FileDocument:
    where = f"{name}, line {number}"
    try:
        content = json.loads(line)
    except ValueError as error:
        raise InvalidArgumentError(
            f"{where} is no JSON: {error}; expected one document per line, or --format text"
        ) from error
    if isinstance(content, str):
        return FileDocument(number, content, content)
    if not isinstance(content, dict):
        raise InvalidArgumentError(f"{where} is neither a JSON object nor a JSON string")
    text = content.get(text_field)
    if not isinstance(text, str):
        fields = ", ".join(map(repr, content)) or "none"
        raise InvalidArgumentError(
            f"{where} has no string under {text_field!r} (its fields: {fields}); name the field "
            "with --text-field"
        )
    return FileDocument(number, text, content)
