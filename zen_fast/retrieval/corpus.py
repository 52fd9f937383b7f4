"""Corpora as users have them: lists, JSON lines, BEIR folders."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from zen_fast.documents import Document, document_text
from zen_fast.errors import InvalidTypeError
from zen_fast.retrieval.errors import CorpusError

Corpus = str | Path | Iterable[Document]
"""A path, or documents: texts, or mappings with `text` and perhaps `id` (or `_id`)."""

_ID_FIELDS = ("_id", "id")
_TEXT_FIELDS = ("text", *_ID_FIELDS)
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
    return CorpusDocument(_id(document, default_id, name), text, _fields(document))


def _id(row: Mapping[str, Any], default_id: str, name: str) -> str:
    found = next((row[field] for field in _ID_FIELDS if field in row), default_id)
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise CorpusError(f"{name} has the id {found!r}; an id is a text or a whole number")
    return str(found)


def _fields(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in row.items() if name not in _TEXT_FIELDS}


def _read_path(path: Path) -> Iterator[CorpusDocument]:
    if path.is_dir():
        found = next((path / name for name in _BEIR_FILES if (path / name).is_file()), None)
        if found is None:
            raise CorpusError(f"{path} holds neither {' nor '.join(_BEIR_FILES)}")
        path = found
    is_json = path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json"))
    try:
        with _opened(path) as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                where = f"{path}, line {number}"
                if is_json:
                    yield _json_document(line, str(number), where)
                else:
                    yield CorpusDocument(str(number), line.rstrip("\r\n"), {})
    except OSError as error:
        raise CorpusError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8; convert it first") from error


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return cast("IO[str]", gzip.open(path, "rt", encoding="utf-8-sig"))
    return path.open(encoding="utf-8-sig")


def _json_document(line: str, default_id: str, where: str) -> CorpusDocument:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{where} is no JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise CorpusError(
            f'{where}: expected a JSON object with a string as "text", got {line.rstrip()[:80]!r}'
        )
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise CorpusError(f"{where}: the title is a {type(title).__name__}; a title is a string")
    text = f"{title} {row['text']}".strip()
    return CorpusDocument(_id(row, default_id, where), text, _fields(row))
