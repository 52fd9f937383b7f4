"""Rankings in TREC's format: `query-id Q0 document-id rank score tag`, one document per line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zen_fast.errors import InvalidArgumentError

Run = Mapping[str, Mapping[str, float]]
"""Query id → document id → score."""


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Read a run; each query's documents come best first.

    Raises:
        InvalidArgumentError: the file cannot be read, or a line is malformed or repeats a document;
            the message names file and line.
    """
    run: dict[str, dict[str, float]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"cannot read the run {path}: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            query_id, _, document_id, _, score, _ = line.split()
            value = float(score)
        except ValueError:
            raise InvalidArgumentError(
                f"{path}, line {number}: expected `query-id Q0 document-id rank score tag`, got "
                f"{line[:80]!r}"
            ) from None
        documents = run.setdefault(query_id, {})
        if document_id in documents:
            raise InvalidArgumentError(
                f"{path}, line {number}: query {query_id} has document {document_id} twice"
            )
        documents[document_id] = value
    return {
        query_id: dict(sorted(documents.items(), key=lambda item: -item[1]))
        for query_id, documents in run.items()
    }


def write_run(run: Run, path: Path, tag: str) -> None:
    """Write a run, best first; `tag` names the system and holds no spaces."""
    lines = []
    for query_id, documents in run.items():
        ranked = sorted(documents.items(), key=lambda item: -item[1])
        for rank, (document_id, score) in enumerate(ranked, start=1):
            lines.append(f"{query_id} Q0 {document_id} {rank} {score:.7g} {tag}\n")
    path.write_text("".join(lines), encoding="utf-8")
