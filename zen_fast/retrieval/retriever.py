"""The retriever: BM25, dense vectors, or both, over one set of documents."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from zen_fast.arguments import positive
from zen_fast.documents import Document, query_list, query_text
from zen_fast.embedder import ZenEmbedder
from zen_fast.errors import InvalidArgumentError
from zen_fast.retrieval.candidate import Candidate
from zen_fast.retrieval.corpus import Corpus, read_corpus
from zen_fast.retrieval.document_store import DocumentStore
from zen_fast.retrieval.errors import IndexFolderError
from zen_fast.retrieval.hits import Hits, fuse
from zen_fast.retrieval.index_folder import read_manifest, write_index

if TYPE_CHECKING:
    from zen_fast.bm25 import Bm25Index
    from zen_fast.retrieval.vector_index import Search, VectorIndex, VectorType

Mode = Literal["bm25", "dense", "hybrid"]

FUSION_DEPTH = 100
"""Least depth of the two lists that are fused: a document may be deep in one and high in the
other."""

SAME_MODEL_COSINE = 0.97
"""A model's probes in fp32 and in int8 are at least this alike; another model's are not."""

_PROBES = "probes.npy"


@dataclass(frozen=True)
class _Indexes:
    """What one state of the retriever searches; replaced as a whole."""

    documents: DocumentStore
    bm25: Bm25Index | None
    vectors: VectorIndex | None


class ZenRetriever:
    """Finds candidates for a query; safe to call from many threads, while documents are added too.

    Make one with `from_corpus` or `load`.
    """

    def __init__(
        self,
        indexes: _Indexes,
        mode: Mode,
        embedder: ZenEmbedder | None,
        vectors: VectorType,
        search: Search,
        weights: tuple[float, float],
    ) -> None:
        self._indexes = indexes
        self._mode: Mode = mode
        self._embedder = embedder
        self._vector_type: VectorType = vectors
        self._search: Search = search
        self._weights = weights
        self._adding = threading.Lock()

    @classmethod
    def from_corpus(
        cls,
        corpus: Corpus,
        *,
        embedder: ZenEmbedder | str | Path | None = None,
        mode: Mode | None = None,
        vectors: VectorType = "f16",
        search: Search = "exact",
        weights: tuple[float, float] = (1.0, 1.0),
        resume_folder: str | Path | None = None,
        show_progress: bool | None = None,
    ) -> ZenRetriever:
        """Index a corpus.

        Args:
            corpus: a path, or documents; see `read_corpus`.
            embedder: the bi-encoder, or what `ZenEmbedder.from_pretrained` takes as a model.
            mode: "bm25", "dense", or "hybrid", which fuses the two; None for "hybrid" where there
                is an embedder, and "bm25" where there is none.
            vectors: how embeddings are stored: "f32", "f16" or "i8".
            search: "exact" compares every vector; "hnsw" walks a graph, for millions of them.
            weights: of BM25 and of the vectors in the fusion.
            resume_folder: where parts of the embeddings are kept, so that a run that was cut off
                goes on; may be deleted afterwards.
            show_progress: None shows a bar on a terminal when the work takes long.

        Raises:
            CorpusError: the corpus is empty, repeats an id, or has a malformed line.
            InvalidArgumentError, InvalidTypeError: an argument is not accepted.
            MissingDependencyError: an extra is not installed.
            ZenError: the embedder cannot be loaded.
        """
        mode = _checked_mode(mode, embedder is not None)
        _check_choice("vectors", vectors, ("f32", "f16", "i8"))
        _check_choice("search", search, ("exact", "hnsw"))
        if isinstance(embedder, str | Path):
            embedder = ZenEmbedder.from_pretrained(embedder)
        retriever = cls(
            _Indexes(DocumentStore.of(read_corpus(corpus)), None, None),
            mode,
            embedder,
            vectors,
            search,
            _checked_weights(weights),
        )
        folder = None if resume_folder is None else Path(resume_folder)
        retriever._indexes = retriever._indexed(
            retriever._indexes.documents, None, folder, show_progress
        )
        return retriever

    @classmethod
    def load(cls, folder: str | Path, *, embedder: ZenEmbedder | None = None) -> ZenRetriever:
        """Open what `save` wrote; documents, BM25 and vectors are mapped, not read.

        Args:
            embedder: the model that the index was made with, loaded as you like it; None loads it
                from where it was.

        Raises:
            IndexFolderError: the folder holds no index, or one of another release or model.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        data = folder / manifest["data"]
        mode: Mode = manifest["mode"]
        bm25, index = None, None
        vector_type: VectorType = "f16"
        search: Search = "exact"
        if mode != "dense":
            from zen_fast.bm25 import Bm25Index

            bm25 = Bm25Index.load(data)
        if mode != "bm25":
            from zen_fast.retrieval.vector_index import ExactIndex, GraphIndex

            settings = manifest["dense"]
            vector_type, search = settings["vectors"], settings["search"]
            if embedder is None:
                embedder = ZenEmbedder.from_pretrained(**settings["embedder"])
            _require_same_model(folder, data, embedder, settings["embedder"]["model"])
            kind = ExactIndex if search == "exact" else GraphIndex
            index = kind.load(data, settings["similarity"], vector_type)
        elif embedder is not None:
            raise InvalidArgumentError(f"{folder} holds no vectors: it takes no embedder")
        return cls(
            _Indexes(DocumentStore.load(data), bm25, index),
            mode,
            embedder,
            vector_type,
            search,
            (manifest["weights"][0], manifest["weights"][1]),
        )

    def save(self, folder: str | Path) -> None:
        """Write the index, whole or not at all; an index that is there is replaced.

        Raises:
            IndexFolderError: the folder holds something that is no index.
        """
        indexes = self._indexes
        content: dict[str, Any] = {
            "mode": self._mode,
            "num_documents": len(indexes.documents),
            "weights": self._weights,
        }
        if self._embedder is not None:
            content["dense"] = {
                "embedder": self._embedder.settings(),
                "similarity": self._embedder.similarity,
                "vectors": self._vector_type,
                "search": self._search,
            }

        def write(data: Path) -> None:
            indexes.documents.save(data)
            if indexes.bm25 is not None:
                indexes.bm25.save(data)
            if indexes.vectors is not None and self._embedder is not None:
                from zen_fast.retrieval.corpus_encoding import probe

                indexes.vectors.save(data)
                np.save(data / _PROBES, probe(self._embedder))

        write_index(Path(folder), content, write)

    def add(self, documents: Iterable[Document], *, show_progress: bool | None = None) -> None:
        """Index more documents; searches see all of them at once, or none.

        Only the new ones are embedded. BM25, whose statistics are of the whole corpus, is built
        anew.

        Raises:
            CorpusError: a document repeats an id.
        """
        with self._adding:
            before = self._indexes
            more = read_corpus(documents, first_number=len(before.documents))
            together = before.documents.with_more(more)
            if len(together) > len(before.documents):
                self._indexes = self._indexed(together, before.vectors, None, show_progress)

    def __len__(self) -> int:
        return len(self._indexes.documents)

    @property
    def mode(self) -> Mode:
        """How a query is answered unless a call says otherwise."""
        return self._mode

    @property
    def embedder(self) -> ZenEmbedder | None:
        """The bi-encoder, where there is one."""
        return self._embedder

    def __repr__(self) -> str:
        return f"ZenRetriever(mode={self._mode!r}, num_documents={len(self)})"

    def retrieve(self, query: str, k: int = 100, *, mode: Mode | None = None) -> list[Candidate]:
        """The best `k` documents for `query`, best first.

        There are fewer where the corpus is smaller, or where BM25 alone finds fewer that share a
        word.

        Args:
            mode: None for the retriever's own; a hybrid one also answers by "bm25" or "dense".

        Raises:
            InvalidArgumentError: `k` is not positive, or the mode is not to be had.
            InvalidTypeError: the query is no text, or `k` no whole number.
        """
        return self.batch_retrieve([query_text(query)], k, mode=mode)[0]

    def batch_retrieve(
        self, queries: Sequence[str], k: int = 100, *, mode: Mode | None = None
    ) -> list[list[Candidate]]:
        """`retrieve` for many queries, one list for each."""
        queries, k = query_list(queries), positive("k", k)
        mode = self._mode if mode is None else mode
        if not queries:
            return []
        indexes = self._indexes
        return [
            [
                indexes.documents.candidate(number, score)
                for number, score in zip(hits.numbers.tolist(), hits.scores.tolist(), strict=True)
            ]
            for hits in self._hits(indexes, queries, min(k, len(indexes.documents)), mode)
        ]

    def _hits(self, indexes: _Indexes, queries: list[str], k: int, mode: Mode) -> list[Hits]:
        if mode == self._mode == "hybrid":
            depth = min(max(k, FUSION_DEPTH), len(indexes.documents))
            both = (self._hits(indexes, queries, depth, each) for each in ("bm25", "dense"))
            return [fuse(pair, self._weights, k) for pair in zip(*both, strict=True)]
        if mode == "bm25" and indexes.bm25 is not None:
            return [Hits(*each) for each in indexes.bm25.search(queries, k)]
        if mode == "dense" and indexes.vectors is not None and self._embedder is not None:
            return indexes.vectors.search(self._embedder.encode_queries(queries), k)
        modes = " or ".join(get_args(Mode)) if self._mode == "hybrid" else self._mode
        raise InvalidArgumentError(f"mode={mode!r}: this retriever answers by {modes}")

    def _indexed(
        self,
        documents: DocumentStore,
        vectors: VectorIndex | None,
        resume_folder: Path | None,
        show_progress: bool | None,
    ) -> _Indexes:
        """Indexes of `documents`, the first of which `vectors` holds already."""
        bm25 = None
        if self._mode != "dense":
            from zen_fast.bm25 import Bm25Index

            bm25 = Bm25Index(documents.texts())
        if self._mode != "bm25" and self._embedder is not None:
            from zen_fast.retrieval.corpus_encoding import encode_corpus
            from zen_fast.retrieval.vector_index import ExactIndex, GraphIndex

            more = encode_corpus(
                self._embedder,
                documents,
                self._vector_type,
                start=0 if vectors is None else len(vectors),
                resume_folder=resume_folder,
                show_progress=show_progress,
            )
            similarity = self._embedder.similarity
            if vectors is not None:
                vectors = vectors.with_more(more)
            elif self._search == "exact":
                vectors = ExactIndex(more, similarity, self._vector_type)
            else:
                vectors = GraphIndex.of(more, similarity, self._vector_type)
        return _Indexes(documents, bm25, vectors)


def _require_same_model(folder: Path, data: Path, embedder: ZenEmbedder, model: str) -> None:
    from zen_fast.retrieval.corpus_encoding import probe

    made_with, now = np.load(data / _PROBES), probe(embedder)
    if made_with.shape == now.shape:
        lengths = np.linalg.norm(made_with, axis=1) * np.linalg.norm(now, axis=1)
        if ((made_with * now).sum(axis=1) >= SAME_MODEL_COSINE * lengths).all():
            return
    raise IndexFolderError(
        f"{folder} was made with another model than {embedder.model}: with {model}, "
        f"{made_with.shape[1]} dimensions; load that one, or index the corpus again"
    )


def _checked_mode(mode: Mode | None, has_embedder: bool) -> Mode:
    if mode is None:
        return "hybrid" if has_embedder else "bm25"
    _check_choice("mode", mode, get_args(Mode))
    if (mode == "bm25") == has_embedder:
        remedy = "takes no embedder" if has_embedder else "needs an embedder: pass embedder=..."
        raise InvalidArgumentError(f"mode={mode!r} {remedy}")
    return mode


def _check_choice(name: str, value: object, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise InvalidArgumentError(
            f"{name}={value!r}: accepted are {', '.join(map(repr, accepted))}"
        )


def _checked_weights(weights: tuple[float, float]) -> tuple[float, float]:
    try:
        of_bm25, of_vectors = (float(weight) for weight in weights)
    except (TypeError, ValueError):
        of_bm25 = of_vectors = -1.0
    if not (0 <= of_bm25 < np.inf and 0 <= of_vectors < np.inf and of_bm25 + of_vectors > 0):
        raise InvalidArgumentError(
            f"weights={weights!r}: pass two numbers of at least 0, BM25's and the vectors', not "
            "both 0"
        )
    return of_bm25, of_vectors
