"""Documents in files: one per line, as plain text or JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from zen_fast.documents import TEXT_FIELD
from zen_fast.errors import InvalidArgumentError
from zen_fast.numbered_lines import STDIN, is_json, numbered_lines, require_plain_text

Format = Literal["text", "jsonl"]


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
        path: "-" for stdin; a name that ends in .gz is of a gzip file.
        file_format: None goes by the suffix: .jsonl, .ndjson and .json are JSON lines, others plain
            text, unless it is plain that they are not.
        text_field: field of a JSON object that is scored; a JSON string is a document too.

    Raises:
        InvalidArgumentError: the file cannot be read, is not UTF-8, or a line is no such JSON; the
            message names file and line.
    """
    name = "stdin" if path == STDIN else path
    lines = list(numbered_lines(path, InvalidArgumentError))
    if file_format is None:
        file_format = "jsonl" if is_json(path) else "text"
        if lines and file_format == "text":
            require_plain_text(path, lines[0][1], InvalidArgumentError)
    if file_format == "text":
        return [FileDocument(number, line, line) for number, line in lines]
    return [_json_document(line, number, name, text_field) for number, line in lines]


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
