"""What a retriever searches: documents with BM25, vectors, or both over them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zen_fast.checkpoint.embedding import Similarity
from zen_fast.embedder import ZenEmbedder
from zen_fast.retrieval.document_store import DocumentStore
from zen_fast.retrieval.resume_folder import ResumeFolder
from zen_fast.retrieval.settings import RetrieverSettings

if TYPE_CHECKING:  # an index of one kind needs no package of the other
    from zen_fast.bm25 import Bm25Index
    from zen_fast.retrieval.vector_index import VectorIndex


@dataclass(frozen=True)
class Indexes:
    """One state of a retriever, never changed: more documents make another."""

    documents: DocumentStore
    bm25: Bm25Index | None
    vectors: VectorIndex | None

    @classmethod
    def of(
        cls,
        documents: DocumentStore,
        settings: RetrieverSettings,
        embedder: ZenEmbedder | None,
        *,
        before: VectorIndex | None = None,
        resume_folder: ResumeFolder | None = None,
        show_progress: bool | None = None,
    ) -> Indexes:
        """Index `documents`, of which `before` has the first ones' vectors already."""
        bm25, vectors = None, None
        if settings.has_bm25:
            from zen_fast.bm25 import Bm25Index

            bm25 = Bm25Index(documents.texts())
        if embedder is not None:
            from zen_fast.retrieval.corpus_encoding import encode_corpus
            from zen_fast.retrieval.vector_index import ExactIndex, GraphIndex

            encoded = encode_corpus(
                embedder,
                documents,
                settings.vectors,
                start=0 if before is None else len(before),
                resume_folder=resume_folder,
                show_progress=show_progress,
            )
            if before is not None:
                vectors = before.with_more(encoded)
            elif settings.search == "exact":
                vectors = ExactIndex(encoded, embedder.similarity, settings.vectors)
            else:
                vectors = GraphIndex.of(encoded, embedder.similarity, settings.vectors)
        return cls(documents, bm25, vectors)

    @classmethod
    def load(cls, data: Path, settings: RetrieverSettings, similarity: Similarity) -> Indexes:
        """What `save` wrote, mapped from its files."""
        bm25, vectors = None, None
        if settings.has_bm25:
            from zen_fast.bm25 import Bm25Index

            bm25 = Bm25Index.load(data)
        if settings.has_vectors:
            from zen_fast.retrieval.vector_index import ExactIndex, GraphIndex

            kind = ExactIndex if settings.search == "exact" else GraphIndex
            vectors = kind.load(data, similarity, settings.vectors)
        return cls(DocumentStore.load(data), bm25, vectors)

    def save(self, data: Path) -> None:
        """Write files into the folder `data`."""
        self.documents.save(data)
        for index in (self.bm25, self.vectors):
            if index is not None:
                index.save(data)


_PROBES = "probes.npy"

SAME_MODEL_COSINE = 0.97
"""A model's probes in fp32 and in int8 are at least this alike; another model's are not."""


def save_fingerprint(embedder: ZenEmbedder, data: Path) -> None:
    """Write what `embedder` makes of a few texts into `data`."""
    from zen_fast.retrieval.corpus_encoding import probe

    np.save(data / _PROBES, probe(embedder))


def load_fingerprint(data: Path) -> NDArray[np.float32]:
    """What `save_fingerprint` wrote."""
    saved: NDArray[np.float32] = np.load(data / _PROBES)
    return saved


def is_fingerprint_of(embedder: ZenEmbedder, saved: NDArray[np.float32]) -> bool:
    """Whether `saved` is of the same model, of whatever precision."""
    from zen_fast.retrieval.corpus_encoding import probe

    now = probe(embedder)
    if saved.shape != now.shape:
        return False
    lengths = np.linalg.norm(saved, axis=1) * np.linalg.norm(now, axis=1)
    return bool(((saved * now).sum(axis=1) >= SAME_MODEL_COSINE * lengths).all())
