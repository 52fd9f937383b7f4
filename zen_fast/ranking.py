"""Best first: the order of scored documents, and what a ranking says of the work behind it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from zen_fast.activation import ScoreActivation, Scores
from zen_fast.documents import RankedDocument

logger = logging.getLogger(__name__)

Stop = Literal["complete", "settled", "deadline"]


@dataclass(frozen=True)
class Work:
    """What was done for one ranking."""

    num_candidates: int
    num_scored: int
    """Candidates with the model's score, remembered and repeated ones included."""
    num_cached: int
    """Of these, taken from the score cache."""
    num_given_up: int = 0
    """Candidates dropped after `given_up_after` layers."""
    given_up_after: int | None = None
    stopped: Stop = "complete"
    """Complete: every candidate was scored or given up; settled: the rest would not change the
    top k, as far as was asked; deadline: time was up."""
    why: str = ""
    """The same in a sentence, where there is more to say."""

    @property
    def is_partial(self) -> bool:
        """Whether a candidate has no score."""
        return self.num_scored < self.num_candidates


class Ranking(list[RankedDocument]):
    """Ranked documents, best first: a list that also knows the work behind it.

    Candidates without a score follow those that have one, in the order in which they came, with a
    score of NaN.
    """

    def __init__(self, documents: Iterable[RankedDocument], work: Work) -> None:
        super().__init__(documents)
        self.work = work

    def __reduce__(self) -> tuple[type[Ranking], tuple[list[RankedDocument], Work]]:
        return Ranking, (list(self), self.work)


def ranking(logits: Scores, scores: Scores, activation: ScoreActivation) -> NDArray[np.intp]:
    """Indices of the documents from best to worst: `best_first` of their `ranking_keys`."""
    return best_first(ranking_keys(logits, scores, activation))


def ranking_keys(logits: Scores, scores: Scores, activation: ScoreActivation) -> Scores:
    """What the documents of a query are ranked by.

    Logits where the activation keeps their order, because a sigmoid saturates and then ties what
    the model tells apart.

    Args:
        logits: (num_documents,) fp32
        scores: (num_documents,) fp32, their activation
    """
    return logits if activation.keeps_order else scores


def best_first(keys: NDArray[np.floating]) -> NDArray[np.intp]:
    """Indices from the largest key to the smallest.

    Ties stay in input order. NaN comes last, with a warning: a model that gives NaN is broken for
    that pair, which must neither win nor take the others down.
    """
    num_nan = int(np.isnan(keys).sum())
    if num_nan:
        logger.warning("%d of %d scores are NaN and ranked last", num_nan, len(keys))
    return np.argsort(-keys, kind="stable")
