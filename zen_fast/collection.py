"""Judged collections in the BEIR layout: documents, queries, and one split of judgements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zen_fast.errors import ZenError
from zen_fast.numbered_lines import numbered_lines

_QRELS_COLUMNS = ["query-id", "corpus-id", "score"]


class CollectionError(ZenError):
    """A collection's file is missing, or one of its lines cannot be read."""


@dataclass(frozen=True)
class CollectionDocument:
    """One document; `full` is what a reranker reads: title, a space, text."""

    title: str
    text: str

    @property
    def full(self) -> str:
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True)
class Collection:
    """Documents, the queries of one split, and that split's judgements by query id."""

    name: str
    documents: dict[str, CollectionDocument]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]
    """Query id → document id → grade; above 0 is relevant."""

    def judged_documents_only(self) -> Collection:
        """Drop every document that this split does not judge.

        Some corpora are shared by a training and a test split; after this no document that
        only the test split knows can reach training.
        """
        judged = {document_id for grades in self.judgements.values() for document_id in grades}
        documents = {key: doc for key, doc in self.documents.items() if key in judged}
        return Collection(self.name, documents, self.queries, self.judgements)


def load_target(target: str) -> Collection:
    """The collection that a command line calls FOLDER[:SPLIT]; raises as `load_collection`."""
    folder, _, split = target.partition(":")
    return load_collection(Path(folder), split or "test")


def load_collection(folder: Path, split: str = "test") -> Collection:
    """Read a BEIR folder (`corpus.jsonl[.gz]`, `queries.jsonl[.gz]`, `qrels/<split>.tsv`).

    Queries without a judgement, and judgements of absent queries or documents, are left out.

    Raises:
        CollectionError: a file is missing or cannot be read, or a line is malformed or repeats an
            id; the text names both.
    """
    judgements = _read_judgements(folder / "qrels" / f"{split}.tsv")
    documents = {
        str(row["_id"]): CollectionDocument(_title(row, where), row["text"])
        for where, row in _read_rows(folder, "corpus")
    }
    queries = {
        str(row["_id"]): row["text"]
        for _, row in _read_rows(folder, "queries")
        if str(row["_id"]) in judgements
    }
    judgements = {
        query_id: {doc: grade for doc, grade in grades.items() if doc in documents}
        for query_id, grades in judgements.items()
        if query_id in queries
    }
    return Collection(folder.name, documents, queries, judgements)


def _read_rows(folder: Path, stem: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row after what a message calls its place."""
    candidates = [folder / f"{stem}.jsonl", folder / f"{stem}.jsonl.gz"]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise CollectionError(
            f"{folder} is not a BEIR folder: neither {stem}.jsonl nor {stem}.jsonl.gz is there"
        )
    line_of_id: dict[str, int] = {}
    for number, line in numbered_lines(path, CollectionError):
        where = f"{path}, line {number}"
        row = _parse_row(line, where)
        first = line_of_id.setdefault(str(row["_id"]), number)
        if first != number:
            raise CollectionError(
                f"{where}: the id {row['_id']!r} is that of line {first}; ids must differ"
            )
        yield where, row


def _parse_row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        well_formed = isinstance(row["text"], str) and isinstance(row["_id"], str | int)
    except (ValueError, KeyError, TypeError):
        well_formed = False
    if not well_formed:
        raise CollectionError(
            f'{where}: expected a JSON object with "_id" and "text", got {line[:80]!r}'
        )
    return dict(row)


def _title(row: dict[str, Any], where: str) -> str:
    title = row.get("title") or ""
    if not isinstance(title, str):
        raise CollectionError(
            f"{where}: the title is a {type(title).__name__}; a title is a string"
        )
    return title


def _read_judgements(path: Path) -> dict[str, dict[str, int]]:
    if not path.is_file():
        splits = sorted(file.stem for file in path.parent.glob("*.tsv"))
        raise CollectionError(
            f"no judgements at {path}; splits found there: {', '.join(splits) or 'none'}"
        )
    judgements: dict[str, dict[str, int]] = {}
    for number, line in numbered_lines(path, CollectionError):
        fields = line.split("\t")
        if number == 1 and fields == _QRELS_COLUMNS:
            continue
        try:
            query_id, document_id, grade = fields
            judgements.setdefault(query_id, {})[document_id] = int(grade)
        except ValueError:
            raise CollectionError(
                f"{path}, line {number}: expected query id, document id and whole-number score "
                f"between tabs, got {line[:80]!r}"
            ) from None
    return judgements
