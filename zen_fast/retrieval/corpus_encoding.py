"""A corpus through a bi-encoder, shard by shard, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zen_fast.embedder import ZenEmbedder
from zen_fast.progress import ProgressBar
from zen_fast.retrieval.document_store import DocumentStore
from zen_fast.retrieval.settings import VectorType
from zen_fast.retrieval.vector_index import Vectors, stored

SHARD_DOCUMENTS = 8192
"""Encoded between two writes: twice what the engine sorts by length at once."""

PROBES = (
    "What causes climate change?",
    "Berlin is the capital of Germany, on the river Spree.",
    "def rerank(query, documents): return sorted(documents)",
)


def probe(embedder: ZenEmbedder) -> NDArray[np.float32]:
    """Embeddings of texts that never change, (num_probes, dimensions): a model's fingerprint.

    It outlives a move of the model's folder and a change of precision, and no other model has it.
    """
    return embedder.encode_documents(PROBES, show_progress=False)


def encode_corpus(
    embedder: ZenEmbedder,
    documents: DocumentStore,
    vector_type: VectorType,
    *,
    start: int = 0,
    resume_folder: Path | None = None,
    show_progress: bool | None = None,
) -> Vectors:
    """Vectors of the documents from number `start` on, (num_documents, dimensions).

    Args:
        resume_folder: keeps every shard that is done, under a name made of its texts and the
            model; a run over the same texts by the same model finds it there.
        show_progress: None shows a bar on a terminal when the work takes long.
    """
    model = hashlib.sha256(probe(embedder).tobytes() + vector_type.encode()).digest()
    if resume_folder is not None:
        resume_folder.mkdir(parents=True, exist_ok=True)
    vectors: Vectors | None = None
    with ProgressBar(len(documents) - start, show_progress, unit="document") as progress:
        for first in range(start, len(documents), SHARD_DOCUMENTS):
            texts = documents.texts(first, min(first + SHARD_DOCUMENTS, len(documents)))

            def encode(texts: list[str] = texts) -> Vectors:
                embedded = embedder.encode_documents(texts, show_progress=False)
                return stored(embedded, vector_type, embedder.similarity)

            shard = _shard(resume_folder, model, texts, encode)
            if vectors is None:  # one matrix from the start: shards beside it would double it
                vectors = np.empty((len(documents) - start, shard.shape[1]), shard.dtype)
            vectors[first - start : first - start + len(shard)] = shard
            progress.advance(len(shard))
    assert vectors is not None, "a store holds one document at least"
    return vectors


def _shard(
    folder: Path | None, model: bytes, texts: list[str], encode: Callable[[], Vectors]
) -> Vectors:
    """The shard as it was kept, or as `encode` makes it."""
    if folder is None:
        return encode()
    digest = hashlib.sha256(model)
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    path = folder / f"{digest.hexdigest()}.npy"
    if path.is_file():
        kept: Vectors = np.load(path)
        return kept
    shard = encode()
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as file:
        np.save(file, shard)
    unfinished.replace(path)
    return shard
