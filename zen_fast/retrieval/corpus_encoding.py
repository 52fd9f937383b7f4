"""A corpus through a bi-encoder, shard by shard, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from zen_fast.embedder import ZenEmbedder
from zen_fast.progress import ProgressBar
from zen_fast.retrieval.document_store import DocumentStore
from zen_fast.retrieval.resume_folder import ResumeFolder
from zen_fast.retrieval.settings import VectorType
from zen_fast.retrieval.texts_digest import texts_digest
from zen_fast.retrieval.vector_index import Vectors, stored

SHARD_DOCUMENTS = 8192
"""Encoded between two writes: twice what the engine sorts by length at once."""

PROBES = (
    "What causes climate change?",
    "Berlin is the capital of Germany, on the river Spree.",
    "def rerank(query, documents): return sorted(documents)",
)


_NOT_OF_VECTORS = ("model", "revision", "query_prompt")
"""Settings of an embedder that say where it is, or concern queries alone."""


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
    resume_folder: ResumeFolder | None = None,
    show_progress: bool | None = None,
) -> Vectors:
    """Vectors of the documents from number `start` on, (num_documents, dimensions).

    Args:
        resume_folder: keeps every shard that is done, under a name made of its texts, the model
            and its settings; a run over the same texts by the same model finds it there.
        show_progress: None shows a bar on a terminal when the work takes long.
    """
    made_by = _vectors_made_by(embedder, vector_type)
    vectors: Vectors | None = None
    with ProgressBar(len(documents) - start, show_progress, unit="document") as progress:
        for first in range(start, len(documents), SHARD_DOCUMENTS):
            texts = documents.texts(first, min(first + SHARD_DOCUMENTS, len(documents)))

            def encode(texts: list[str] = texts) -> Vectors:
                embedded = embedder.encode_documents(texts, show_progress=False)
                return stored(embedded, vector_type, embedder.similarity)

            if resume_folder is None:
                shard = encode()
            else:
                shard = resume_folder.shard(texts_digest(texts, made_by), encode)
            if vectors is None:  # one matrix from the start: shards beside it would double it
                vectors = np.empty((len(documents) - start, shard.shape[1]), shard.dtype)
            vectors[first - start : first - start + len(shard)] = shard
            progress.advance(len(shard))
    assert vectors is not None, "a store holds one document at least"
    return vectors


def _vectors_made_by(embedder: ZenEmbedder, vector_type: VectorType) -> bytes:
    """A digest of everything but a text that its vector depends on.

    The probes tell models apart, but are too short for what `max_length` cuts off.
    """
    settings = embedder.settings()
    decisive = {name: settings[name] for name in settings if name not in _NOT_OF_VECTORS}
    described = json.dumps([decisive, embedder.similarity, vector_type], sort_keys=True)
    return hashlib.sha256(probe(embedder).tobytes() + described.encode()).digest()
