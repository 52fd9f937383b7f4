"""Numbers of documents with scores, and the fusion of two such lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RANK_OFFSET = 60
"""What reciprocal rank fusion adds to a rank, as in its paper."""


@dataclass(frozen=True)
class Hits:
    """What one query found, best first."""

    numbers: NDArray[np.int64]
    """(num_hits,) of documents"""
    scores: NDArray[np.float32]
    """(num_hits,)"""


def fuse(lists: Sequence[Hits], weights: Sequence[float], k: int) -> Hits:
    """The best `k` by reciprocal rank fusion (Cormack et al., SIGIR 2009).

    A document's score is the sum over lists of weight / (60 + its rank there, from 1). Ties go to
    what an earlier list has first.
    """
    scores: dict[int, float] = {}
    for hits, weight in zip(lists, weights, strict=True):
        for rank, number in enumerate(hits.numbers.tolist(), start=1):
            scores[number] = scores.get(number, 0.0) + weight / (RANK_OFFSET + rank)
    best = sorted(scores.items(), key=lambda item: -item[1])[:k]
    return Hits(
        np.array([number for number, _ in best], dtype=np.int64),
        np.array([score for _, score in best], dtype=np.float32),
    )
