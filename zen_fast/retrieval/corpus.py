"""Corpora as users have them: lists, JSON lines, BEIR folders."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from zen_fast.documents import Document, document_text
from zen_fast.errors import InvalidTypeError
from zen_fast.numbered_lines import is_json, numbered_lines, require_plain_text
from zen_fast.retrieval.errors import CorpusError

Corpus = str | Path | Iterable[Document]
"""A path, or documents: texts, or mappings with `text` and perhaps `id` (or `_id`)."""

_ID_FIELDS = ("_id", "id")
_BEIR_FILES = ("corpus.jsonl", "corpus.jsonl.gz")


@dataclass(frozen=True)
class CorpusDocument:
    """One document to index."""

    id: str
    text: str
    """What is searched, and what a reranker reads."""
    fields: Mapping[str, Any]
    """What rides along; JSON."""


def read_corpus(corpus: Corpus, first_number: int = 0) -> Iterator[CorpusDocument]:
    """The documents of a corpus, one by one.

    A path is a BEIR folder, a file of JSON lines (.jsonl, .ndjson, .json, also with .gz), or a text
    file with one document per line. A `title` in a file is put before the text, as BEIR has it; a
    mapping's is not. A document without an id is called by its number, from 0 (in files: by its
    line, from 1).

    Args:
        first_number: number of the first document of a list.

    Raises:
        CorpusError: a file is missing or one of its lines is malformed; the message names both.
        InvalidTypeError: a document is neither a text nor a mapping with a text.
    """
    if isinstance(corpus, str | Path):
        return _read_path(Path(corpus))
    if isinstance(corpus, bytes | Mapping) or not isinstance(corpus, Iterable):
        raise InvalidTypeError(
            f"corpus is a {type(corpus).__name__}; pass a path, or a list of documents"
        )
    return (
        _document(document, str(number), f"corpus[{number}]")
        for number, document in enumerate(corpus, start=first_number)
    )


def _document(document: object, default_id: str, name: str) -> CorpusDocument:
    text = document_text(document, name)
    if not isinstance(document, Mapping):
        return CorpusDocument(default_id, text, {})
    return _row_document(document, text, default_id, name)


def _row_document(row: Mapping[str, Any], text: str, default_id: str, name: str) -> CorpusDocument:
    """The document of a row; what is neither its text nor its id rides along."""
    id_field = next((field for field in _ID_FIELDS if field in row), None)
    found = default_id if id_field is None else row[id_field]
    if isinstance(found, bool) or not isinstance(found, str | Integral):
        raise CorpusError(f"{name} has the id {found!r}; an id is a text or a whole number")
    fields = {key: value for key, value in row.items() if key not in ("text", id_field)}
    return CorpusDocument(str(found), text, fields)


def _read_path(path: Path) -> Iterator[CorpusDocument]:
    if path.is_dir():
        found = next((path / name for name in _BEIR_FILES if (path / name).is_file()), None)
        if found is None:
            raise CorpusError(f"{path} holds neither {' nor '.join(_BEIR_FILES)}")
        path = found
    lines = numbered_lines(path, CorpusError)
    if is_json(path):
        for number, line in lines:
            yield _json_document(line, str(number), f"{path}, line {number}")
        return
    for index, (number, line) in enumerate(lines):
        if index == 0:
            require_plain_text(path, line, CorpusError)
        yield CorpusDocument(str(number), line, {})


def _json_document(line: str, default_id: str, where: str) -> CorpusDocument:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{where} is no JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise CorpusError(
            f'{where}: expected a JSON object with a string as "text", got {line[:80]!r}'
        )
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise CorpusError(f"{where}: the title is a {type(title).__name__}; a title is a string")
    text = f"{title} {row['text']}".strip()
    return _row_document(row, text, default_id, where)
