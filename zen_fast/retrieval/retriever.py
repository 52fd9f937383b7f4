"""The retriever: BM25, dense vectors, or both, over one set of documents."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zen_fast.arguments import positive_count
from zen_fast.documents import Document, query_list, query_text
from zen_fast.embedder import ZenEmbedder
from zen_fast.errors import InvalidArgumentError
from zen_fast.retrieval.candidate import Candidate
from zen_fast.retrieval.corpus import Corpus, read_corpus
from zen_fast.retrieval.document_store import DocumentStore
from zen_fast.retrieval.hits import Hits, fuse
from zen_fast.retrieval.index_folder import TEXTS_DIGEST, write_index
from zen_fast.retrieval.indexes import Indexes, save_fingerprint
from zen_fast.retrieval.opening import open_index, require_embedder_type
from zen_fast.retrieval.resume_folder import ResumeFolder
from zen_fast.retrieval.settings import Mode, RetrieverSettings, Search, VectorType

FUSION_DEPTH = 100
"""Least depth of the lists that are fused: what is deep in one may be high in the other."""


class ZenRetriever:
    """Finds candidates for a query; safe to call from many threads, while documents are added too.

    Make one with `from_corpus` or `load`.
    """

    def __init__(
        self, indexes: Indexes, settings: RetrieverSettings, embedder: ZenEmbedder | None
    ) -> None:
        self._indexes = indexes
        self._settings = settings
        self._embedder = embedder
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
        resume_folder: str | Path | ResumeFolder | None = None,
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
                goes on; may be deleted afterwards, as `ResumeFolder.clear` does.
            show_progress: None shows a bar on a terminal when the work takes long.

        Raises:
            CorpusError: the corpus is empty, repeats an id, or has a malformed line.
            InvalidArgumentError, InvalidTypeError: an argument is not accepted.
            MissingDependencyError: an extra is not installed.
            ZenError: the embedder cannot be loaded.
        """
        if mode is None:
            mode = "bm25" if embedder is None else "hybrid"
        settings = RetrieverSettings(mode, vectors, search, weights)
        _require_embedder(settings, embedder)
        if isinstance(embedder, str | Path):
            embedder = ZenEmbedder.from_pretrained(embedder)
        if isinstance(resume_folder, str | Path):
            resume_folder = ResumeFolder(Path(resume_folder))
        indexes = Indexes.of(
            DocumentStore.of(read_corpus(corpus)),
            settings,
            embedder,
            resume_folder=resume_folder,
            show_progress=show_progress,
        )
        return cls(indexes, settings, embedder)

    @classmethod
    def load(cls, folder: str | Path, *, embedder: ZenEmbedder | None = None) -> ZenRetriever:
        """Open what `save` wrote; documents, BM25 and vectors are mapped, not read.

        Args:
            embedder: the model that the index was made with, loaded as you like it; None loads it
                from where it was.

        Raises:
            IndexFolderError: the folder holds no index, a damaged one, or one of another release or
                model.
            InvalidArgumentError: an embedder is passed, and the index has no vectors.
            InvalidTypeError: the embedder is none.
            ZenError: the embedder cannot be loaded.
        """
        return cls(*open_index(Path(folder), embedder))

    def save(self, folder: str | Path) -> None:
        """Write the index, whole or not at all; an index that is there is replaced.

        Raises:
            IndexFolderError: the folder holds something that is no index.
        """
        indexes, embedder = self._indexes, self._embedder
        content: dict[str, Any] = {
            "num_documents": len(indexes.documents),
            "settings": asdict(self._settings),
            "embedder": None if embedder is None else embedder.settings(),
            TEXTS_DIGEST: indexes.documents.texts_digest(),
        }

        def write(data: Path) -> None:
            indexes.save(data)
            if embedder is not None:
                save_fingerprint(embedder, data)

        write_index(Path(folder), content, write)

    def add(self, documents: Iterable[Document], *, show_progress: bool | None = None) -> None:
        """Index more documents; a search sees all of them, or none.

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
                self._indexes = Indexes.of(
                    together,
                    self._settings,
                    self._embedder,
                    before=before.vectors,
                    show_progress=show_progress,
                )

    def __len__(self) -> int:
        return len(self._indexes.documents)

    def ids(self) -> list[str]:
        """Ids of the documents, in the order in which they were added."""
        return list(self._indexes.documents.ids())

    @property
    def mode(self) -> Mode:
        """How a query is answered unless a call says otherwise."""
        return self._settings.mode

    @property
    def embedder(self) -> ZenEmbedder | None:
        """The bi-encoder, where there is one."""
        return self._embedder

    def __repr__(self) -> str:
        return f"ZenRetriever(mode={self.mode!r}, num_documents={len(self)})"

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
        queries, k = query_list(queries), positive_count("k", k)
        mode = self.mode if mode is None else mode
        if mode not in self._settings.modes:
            raise InvalidArgumentError(
                f"mode={mode!r}: this retriever answers by {' or '.join(self._settings.modes)}"
            )
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

    def _hits(self, indexes: Indexes, queries: list[str], k: int, mode: Mode) -> list[Hits]:
        if mode == "hybrid":
            depth = min(max(k, FUSION_DEPTH), len(indexes.documents))
            both = (self._hits(indexes, queries, depth, each) for each in ("bm25", "dense"))
            return [fuse(pair, self._settings.weights, k) for pair in zip(*both, strict=True)]
        if mode == "bm25":
            assert indexes.bm25 is not None, "the settings have this mode"
            return [Hits(*each) for each in indexes.bm25.search(queries, k)]
        assert indexes.vectors is not None, "the settings have this mode"
        assert self._embedder is not None, "where there are vectors"
        return indexes.vectors.search(self._embedder.encode_queries(queries), k)


def _require_embedder(settings: RetrieverSettings, embedder: object) -> None:
    """An embedder where there are vectors, and only there."""
    if settings.has_vectors and embedder is None:
        raise InvalidArgumentError(f"mode={settings.mode!r} needs an embedder: pass embedder=...")
    if embedder is not None and not settings.has_vectors:
        raise InvalidArgumentError(f"mode={settings.mode!r} takes no embedder; 'hybrid' does")
    if embedder is not None:
        require_embedder_type(embedder, (ZenEmbedder, str, Path))
