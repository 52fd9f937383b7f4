"""One order of two opinions: the reranker's scores and the first stage's.

A cross-encoder knows what words mean, BM25 how rare they are and how often they occur, and each is
wrong where the other need not be: a weighted sum often ranks better than either (Wang et al.,
"BERT-based Dense Retrievers Require Interpolation with BM25 for Effective Passage Retrieval", ICTIR
2021). The two are on scales of their own, so each is taken relative to the query's candidates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from zen_fast.arguments import as_float, share_of_first_stage
from zen_fast.documents import Document
from zen_fast.errors import InvalidArgumentError, InvalidTypeError

SCORE_FIELD = "score"
"""Of a candidate: what its first stage gave it."""


@dataclass(frozen=True)
class FirstStage:
    """What the first stage says of one query's candidates, and how much that counts."""

    scores: NDArray[np.float64]
    """(num_candidates,) finite"""
    weight: float
    """Its share of the order, from 0 to 1."""

    @classmethod
    def of(
        cls, candidates: Sequence[Document], weight: object, name: str = "candidates"
    ) -> FirstStage | None:
        """That of the candidates' `score` fields; None where it has no weight.

        Raises:
            InvalidArgumentError: the weight is no share, or a score is not finite.
            InvalidTypeError: a candidate is no mapping, or has no number as `score`.
        """
        share = share_of_first_stage(weight)
        if share == 0:
            return None
        scores = [_score(candidate, f"{name}[{i}]") for i, candidate in enumerate(candidates)]
        return cls(np.array(scores, np.float64), share)

    def mixed_with(self, keys: NDArray[np.floating]) -> NDArray[np.float64]:
        """`(1 - weight) * keys + weight * scores`, each in deviations from its mean.

        Args:
            keys: (num_candidates,) of the reranker, the larger the better; a NaN stays one.
        """
        share = self.weight
        return (1.0 - share) * _standardized(keys) + share * _standardized(self.scores)


def _standardized(values: NDArray[np.floating]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    known = wide[~np.isnan(wide)]
    if len(known) == 0:
        return wide
    deviation = float(known.std())
    standardized: NDArray[np.float64] = (wide - known.mean()) / (deviation or 1.0)
    return standardized


def _score(candidate: Document, name: str) -> float:
    score = candidate.get(SCORE_FIELD) if isinstance(candidate, Mapping) else None
    if isinstance(score, bool) or not isinstance(score, Real):
        raise InvalidTypeError(
            f"{name} has no number under {SCORE_FIELD!r}, which first_stage_weight weighs; pass "
            "what a retriever gives, or mappings with `text` and `score`"
        )
    number = as_float(score)
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{name}[{SCORE_FIELD!r}] is {number}: it must be finite")
    return number
