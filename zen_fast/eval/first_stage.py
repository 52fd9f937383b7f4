"""The first stage of an evaluation: where candidates come from, and how long they took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_fast.candidates import Request, judged_requests
from zen_fast.collection import Collection
from zen_fast.embedder import ZenEmbedder
from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.trec import Run, read_run
from zen_fast.retrieval import Mode, ZenRetriever
from zen_fast.retrieval.index_folder import (
    MANIFEST,
    TEXTS_DIGEST,
    read_manifest,
    require_index_folder,
)
from zen_fast.retrieval.resume_folder import ResumeFolder
from zen_fast.retrieval.texts_digest import texts_digest


@dataclass(frozen=True)
class Retrieved:
    """Each query's candidates, best first; a query may have none."""

    requests: tuple[Request, ...]
    run: Run
    """The same as a ranking, with the first stage's scores."""
    latencies_ms: tuple[float, ...] = ()
    """Of each request; empty where they were not retrieved here."""


def open_retriever(
    collection: Collection, embedder: ZenEmbedder | None, index_folder: Path | None
) -> ZenRetriever:
    """An index of the collection's documents; hybrid where there is an embedder.

    Args:
        index_folder: keeps the index of each collection, and is looked into first.
    """
    folder = None if index_folder is None else index_folder / collection.name
    if folder is not None and (folder / MANIFEST).is_file():
        return _kept_retriever(collection, embedder, folder)
    documents = [
        {"id": key, "text": document.full} for key, document in collection.documents.items()
    ]
    if folder is None:
        return ZenRetriever.from_corpus(documents, embedder=embedder)
    require_index_folder(folder)
    partial = None if embedder is None else ResumeFolder.beside(folder)
    retriever = ZenRetriever.from_corpus(documents, embedder=embedder, resume_folder=partial)
    retriever.save(folder)
    if partial is not None:
        partial.clear()
    return retriever


def _kept_retriever(
    collection: Collection, embedder: ZenEmbedder | None, folder: Path
) -> ZenRetriever:
    """The index in `folder`, which must be of the collection as it is now."""
    retriever = ZenRetriever.load(folder, embedder=embedder)
    kept = read_manifest(folder).get(TEXTS_DIGEST)
    now = texts_digest(document.full for document in collection.documents.values())
    if retriever.ids() != list(collection.documents) or kept not in (None, now):
        raise InvalidArgumentError(
            f"{folder} holds other documents than {collection.name}: delete it, or name another "
            "folder"
        )
    return retriever


def retrieve(
    retriever: ZenRetriever,
    collection: Collection,
    query_ids: Sequence[str],
    mode: Mode,
    depth: int,
) -> Retrieved:
    """The retriever's best `depth` documents for each query, asked one by one.

    A document with the query's own id is left out, as BEIR has it: ArguAna's queries are documents.
    """
    requests, latencies_ms = [], []
    run: dict[str, dict[str, float]] = {}
    for query_id in query_ids:
        query = collection.queries[query_id]
        own = query_id in collection.documents
        start = time.perf_counter()
        found = retriever.retrieve(query, depth + own, mode=mode)
        latencies_ms.append(1000 * (time.perf_counter() - start))
        found = [each for each in found if each.id != query_id][:depth]
        run[query_id] = {each.id: each.score for each in found}
        texts = tuple(each.text for each in found)
        requests.append(Request(query_id, query, tuple(run[query_id]), texts))
    return Retrieved(tuple(requests), run, tuple(latencies_ms))


def judged(collection: Collection, query_ids: Sequence[str]) -> Retrieved:
    """The documents judged for each query, as BM25 ranks them."""
    requests = judged_requests(collection, query_ids)
    run = {
        request.query_id: {key: float(-rank) for rank, key in enumerate(request.document_ids)}
        for request in requests
    }
    return Retrieved(requests, run)


def from_run(path: Path, collection: Collection, query_ids: Sequence[str], depth: int) -> Retrieved:
    """The best `depth` documents of each query in a run; a query that is not there has none.

    Raises:
        InvalidArgumentError: the run cannot be read, holds none of the queries, or a document that
            the collection lacks.
    """
    run = read_run(path)
    if not run.keys() & set(query_ids):
        raise InvalidArgumentError(
            f"the run {path} holds none of the {len(query_ids)} queries of {collection.name}; its "
            f"own are like {next(iter(run), 'none')!r}"
        )
    requests = []
    kept = {query_id: dict(list(run.get(query_id, {}).items())[:depth]) for query_id in query_ids}
    for query_id, ids in kept.items():
        absent = next((key for key in ids if key not in collection.documents), None)
        if absent is not None:
            raise InvalidArgumentError(
                f"the run {path} has document {absent!r}, which {collection.name} does not hold"
            )
        texts = tuple(collection.documents[key].full for key in ids)
        requests.append(Request(query_id, collection.queries[query_id], tuple(ids), texts))
    return Retrieved(tuple(requests), kept)
