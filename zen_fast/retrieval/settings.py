"""How a retriever answers, as its user chose it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from zen_fast.errors import InvalidArgumentError

Mode = Literal["bm25", "dense", "hybrid"]
VectorType = Literal["f32", "f16", "i8"]
Search = Literal["exact", "hnsw"]


@dataclass(frozen=True)
class RetrieverSettings:
    """Raises InvalidArgumentError for a value that is not accepted."""

    mode: Mode = "bm25"
    vectors: VectorType = "f16"
    """How embeddings are stored."""
    search: Search = "exact"
    """Every vector compared, or a graph walked."""
    weights: tuple[float, float] = (1.0, 1.0)
    """Of BM25 and of the vectors in the fusion."""

    def __post_init__(self) -> None:
        _require("mode", self.mode, get_args(Mode))
        _require("vectors", self.vectors, get_args(VectorType))
        _require("search", self.search, get_args(Search))
        if not _are_weights(self.weights):
            raise InvalidArgumentError(
                f"weights={self.weights!r}: pass two numbers of at least 0, BM25's and the "
                "vectors', not both 0"
            )

    @property
    def has_bm25(self) -> bool:
        return self.mode != "dense"

    @property
    def has_vectors(self) -> bool:
        return self.mode != "bm25"

    @property
    def modes(self) -> Sequence[Mode]:
        """What a query may be answered by."""
        return get_args(Mode) if self.mode == "hybrid" else (self.mode,)


def _require(name: str, value: object, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise InvalidArgumentError(
            f"{name}={value!r}: accepted are {', '.join(map(repr, accepted))}"
        )


def _are_weights(weights: object) -> bool:
    return (
        isinstance(weights, Sequence)
        and len(weights) == 2
        and all(isinstance(weight, int | float) and math.isfinite(weight) for weight in weights)
        and min(weights) >= 0
        and max(weights) > 0
    )
