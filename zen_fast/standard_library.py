"""A known-item collection found on every machine: the standard library's documentation.

A docstring's summary line is the query, the rest of that docstring the one relevant document. The
summary itself is left out of the document, so that finding it takes more than matching words.
"""

from __future__ import annotations

import ast
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from zen_fast.collection import Collection, CollectionDocument, load_target

_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "idle_test", "idlelib", "turtledemo", "lib2to3", "ensurepip"}
    | {"site-packages", "dist-packages", "__pycache__"}
)
_NAME = "stdlib"
_MIN_SUMMARY_WORDS = 4
_MIN_BODY_WORDS = 15
_MAX_BODY_WORDS = 100
"""Documents are passages: BM25 favours long texts, and a few manuals would fill every list."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def load_texts(target: str) -> Collection:
    """A collection on the command line: "stdlib", or a BEIR folder as FOLDER[:SPLIT].

    Raises:
        CollectionError: the folder is no such collection.
    """
    return standard_library_collection() if target == _NAME else load_target(target)


def standard_library_collection(folder: Path | None = None) -> Collection:
    """Collect the docstrings of the Python files under `folder`, the running Python's by default.

    Sources are parsed, never imported. Repeated bodies are kept once; a summary that several
    docstrings share ("Initialize self.") identifies none of them and is no query.
    """
    root = folder or Path(sysconfig.get_paths()["stdlib"])
    documents: dict[str, CollectionDocument] = {}
    summaries: dict[str, str] = {}
    seen_bodies: set[str] = set()
    for document_id, docstring in _docstrings(root):
        summary, body = _split(docstring)
        repeated = document_id in documents or body in seen_bodies
        if repeated or len(body.split()) < _MIN_BODY_WORDS:
            continue
        seen_bodies.add(body)
        documents[document_id] = CollectionDocument("", body)
        if len(summary.split()) >= _MIN_SUMMARY_WORDS:
            summaries[document_id] = summary
    occurrences = Counter(summaries.values())
    queries = {key: text for key, text in summaries.items() if occurrences[text] == 1}
    return Collection(
        name=_NAME,
        documents=documents,
        queries=queries,
        judgements={document_id: {document_id: 1} for document_id in queries},
    )


def _split(docstring: str) -> tuple[str, str]:
    """Summary and the beginning of the body, white space folded to single spaces."""
    summary, _, body = docstring.partition("\n\n")
    return " ".join(summary.split()), " ".join(body.split()[:_MAX_BODY_WORDS])


def _docstrings(root: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if _SKIPPED_FOLDERS.intersection(relative.parts[:-1]):
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError):
            continue  # the library carries a few templates that are no modules
        module = ".".join(relative.with_suffix("").parts)
        yield from _docstrings_within(tree, module)


def _docstrings_within(node: _Documented, name: str) -> Iterator[tuple[str, str]]:
    docstring = ast.get_docstring(node)
    if docstring:
        yield name, docstring
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _docstrings_within(child, f"{name}.{child.name}")
