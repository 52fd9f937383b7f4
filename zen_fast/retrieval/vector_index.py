"""Nearest vectors by usearch: every one compared, or a graph walked (HNSW)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.checkpoint.embedding import Similarity
from zen_fast.errors import InvalidArgumentError, MissingDependencyError
from zen_fast.extras import install
from zen_fast.retrieval.hits import Hits
from zen_fast.retrieval.settings import VectorType

try:
    from usearch.index import Index, MetricKind
    from usearch.index import search as search_exactly
except ImportError as error:
    raise MissingDependencyError(
        f"dense retrieval needs {error.name}: {install('retrieval')}"
    ) from error

Vectors = NDArray[Any]

_DTYPES = {"f32": np.float32, "f16": np.float16, "i8": np.int8}
_METRICS = {"cosine": MetricKind.Cos, "dot": MetricKind.IP}
_MATRIX, _GRAPH = "vectors.npy", "vectors.usearch"
_LARGEST_BYTE = 127
_CONNECTIVITY, _EXPANSION_ADD = 16, 128
_EXPANSION_SEARCH = 256
"""Nodes that a walk keeps in sight: more than the hundred candidates that a reranker gets."""


class VectorIndex(ABC):
    """Vectors by number, as they were added; never changed after it is made."""

    def __init__(self, similarity: Similarity, vector_type: VectorType) -> None:
        self._similarity = similarity
        self._metric = _METRICS[similarity]
        self._type: VectorType = vector_type

    @abstractmethod
    def with_more(self, vectors: Vectors) -> VectorIndex:
        """An index of these and `vectors`, (num_vectors, dimensions) as `stored` makes them."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write one file into `folder`."""

    @abstractmethod
    def __len__(self) -> int: ...

    def search(self, queries: NDArray[np.float32], k: int) -> list[Hits]:
        """The `k` most similar vectors for each query, (num_queries, dimensions) fp32."""
        found = self._matches(stored(queries, self._type, self._similarity), min(k, len(self)))
        # For one query usearch gives its matches, for several a list of them.
        return [_hits(found)] if len(queries) == 1 else [_hits(each) for each in found]

    @abstractmethod
    def _matches(self, queries: Vectors, k: int) -> Any: ...


class ExactIndex(VectorIndex):
    """A matrix whose every row is compared."""

    def __init__(self, matrix: Vectors, similarity: Similarity, vector_type: VectorType) -> None:
        super().__init__(similarity, vector_type)
        self._matrix = matrix

    @classmethod
    def load(cls, folder: Path, similarity: Similarity, vector_type: VectorType) -> ExactIndex:
        """What `save` wrote, mapped from its file."""
        return cls(np.load(folder / _MATRIX, mmap_mode="r"), similarity, vector_type)

    def with_more(self, vectors: Vectors) -> ExactIndex:
        matrix = np.concatenate((self._matrix, vectors))
        return ExactIndex(matrix, self._similarity, self._type)

    def save(self, folder: Path) -> None:
        np.save(folder / _MATRIX, self._matrix)

    def __len__(self) -> int:
        return len(self._matrix)

    def _matches(self, queries: Vectors, k: int) -> Any:
        return search_exactly(self._matrix, queries, k, self._metric, exact=True)


class GraphIndex(VectorIndex):
    """A navigable graph (HNSW, Malkov and Yashunin, arXiv 1603.09320): fast, and nearly exact."""

    def __init__(self, graph: Index, similarity: Similarity, vector_type: VectorType) -> None:
        super().__init__(similarity, vector_type)
        self._graph = graph
        self._graph.expansion_search = _EXPANSION_SEARCH

    @classmethod
    def of(cls, vectors: Vectors, similarity: Similarity, vector_type: VectorType) -> GraphIndex:
        """A graph of `vectors`, as `stored` makes them."""
        graph = Index(
            ndim=vectors.shape[1],
            metric=_METRICS[similarity],
            dtype=vector_type,
            connectivity=_CONNECTIVITY,
            expansion_add=_EXPANSION_ADD,
        )
        graph.add(np.arange(len(vectors)), vectors)
        return cls(graph, similarity, vector_type)

    @classmethod
    def load(cls, folder: Path, similarity: Similarity, vector_type: VectorType) -> GraphIndex:
        """What `save` wrote, mapped from its file."""
        graph = Index.restore(folder / _GRAPH, view=True)
        if graph is None:
            raise FileNotFoundError(f"there is no graph at {folder / _GRAPH}")
        return cls(graph, similarity, vector_type)

    def with_more(self, vectors: Vectors) -> GraphIndex:
        graph = Index.restore(self._graph.save())  # a mapped graph cannot grow
        graph.add(np.arange(len(self), len(self) + len(vectors)), vectors)
        return GraphIndex(graph, self._similarity, self._type)

    def save(self, folder: Path) -> None:
        self._graph.save(folder / _GRAPH)

    def __len__(self) -> int:
        return len(self._graph)

    def _matches(self, queries: Vectors, k: int) -> Any:
        return self._graph.search(queries, k)


def _hits(matches: Any) -> Hits:
    """One query's, whose distances are 1 minus the cosine, or 1 minus the product."""
    return Hits(
        np.asarray(matches.keys, dtype=np.int64),
        1 - np.asarray(matches.distances, dtype=np.float32),
    )


def stored(
    vectors: NDArray[np.float32], vector_type: VectorType, similarity: Similarity
) -> Vectors:
    """Vectors as an index holds them: of length 1 where cosines are compared, then rounded.

    Bytes are of any length: a cosine does not ask for it, so each vector uses its whole range.

    Raises:
        InvalidArgumentError: bytes are asked for vectors whose lengths matter.
    """
    if vector_type == "i8" and similarity != "cosine":
        raise InvalidArgumentError(
            "vectors='i8' needs embeddings that are compared by cosine; this model's are by dot "
            "product: choose 'f16' or 'f32'"
        )
    smallest = np.finfo(np.float32).tiny
    if vector_type == "i8":
        largest = np.abs(vectors).max(axis=1, keepdims=True)
        vectors = np.rint(vectors * (_LARGEST_BYTE / np.maximum(largest, smallest)))
    elif similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), smallest)
    return np.ascontiguousarray(vectors, dtype=_DTYPES[vector_type])
