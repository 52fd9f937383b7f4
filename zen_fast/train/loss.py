"""The training loss: a listwise softmax for the order, a pointwise term for the level; or, to
compare with, each candidate by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zen_fast.train.candidate_lists import RatedLists
from zen_fast.train.recipe import Recipe

_MOST_LOG_ODDS = 5.0
"""Cosines far from the midpoint say no more than one at some distance."""


@dataclass(frozen=True)
class Ratings:
    """What is known of the candidates of lists, (num_lists, num_candidates) fp32 each."""

    grades: Tensor
    cosines: Tensor
    bm25: Tensor
    reader: Tensor | None = None
    """Another cross-encoder's logits, where the recipe's sources name readers."""

    @classmethod
    def of(
        cls,
        lists: RatedLists,
        device: str | torch.device = "cpu",
        reader: NDArray[np.float16] | None = None,
    ) -> Ratings:
        """Those of all lists."""
        columns = (lists.grades, lists.cosines, lists.bm25, reader)
        known = (each.astype(np.float32) for each in columns if each is not None)
        return cls(*(torch.from_numpy(each).to(device) for each in known))

    def __getitem__(self, lists: Tensor) -> Ratings:
        reader = None if self.reader is None else self.reader[lists]
        return Ratings(self.grades[lists], self.cosines[lists], self.bm25[lists], reader)

    @property
    def are_judged(self) -> Tensor:
        """(num_lists,) bool, whether a relevant candidate is known."""
        return (self.grades > 0).any(dim=-1)


def graded_targets(grades: Tensor) -> Tensor:
    """Turn grades into a distribution over candidates, gain 2^grade - 1 (as in nDCG).

    Args:
        grades: (num_lists, num_candidates) int or float, 0 for not relevant.

    Returns:
        (num_lists, num_candidates) float, rows sum to 1, or to 0 where no grade is above 0.
    """
    gains = torch.exp2(grades.float()) - 1.0
    return gains / gains.sum(dim=-1, keepdim=True).clamp_min(1.0)


def listwise_softmax_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy between target distributions and the softmax over each list (ListNet).

    Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007.
    """
    return -(targets * functional.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def list_loss(logits: Tensor, ratings: Ratings, recipe: Recipe) -> Tensor:
    """The loss that a recipe names, of (num_lists, num_candidates) logits."""
    loss = pointwise_loss if recipe.loss == "pointwise" else reranking_loss
    return loss(logits, ratings, recipe)


def reranking_loss(logits: Tensor, ratings: Ratings, recipe: Recipe) -> Tensor:
    """Mix the judged grades with a teacher's opinion, listwise and pointwise.

    The teacher is a cross-encoder that read the lists, or else a hybrid: a bi-encoder beside BM25.
    The two together rank unseen domains better than either does, and negatives that BM25 finds hard
    must not teach that shared words count against a document.

    Of the recipe, `hard_weight` is the share of the judged label in the order, and in the level of
    the candidates judged relevant; the teacher has the rest, and all of a list that nobody judged.
    `pointwise_weight` is that of the level, which a softmax leaves free: of the binary cross
    entropy or, as a reader's logits have a level, of the mean squared difference from them.
    """
    hard = recipe.hard_weight * ratings.are_judged.float().unsqueeze(-1)
    if ratings.reader is None:
        order = _hybrid_logits(ratings, recipe)
        # Collections name a relevant document or two; of the others nothing is known.
        known = hard * (ratings.grades > 0).float()
        probability = torch.sigmoid(_cosine_log_odds(ratings.cosines, recipe))
        level_target = known + (1.0 - known) * probability
        level = functional.binary_cross_entropy_with_logits(logits, level_target)
    else:
        order = _reader_logits(ratings, ratings.reader, recipe)
        level = functional.mse_loss(logits, order)
    soft = functional.softmax(order, dim=-1)
    order_target = hard * graded_targets(ratings.grades) + (1.0 - hard) * soft
    return listwise_softmax_loss(logits, order_target) + recipe.pointwise_weight * level


def _hybrid_logits(ratings: Ratings, recipe: Recipe) -> Tensor:
    return ratings.cosines / recipe.cosine_temperature + ratings.bm25 / recipe.bm25_temperature


def _reader_logits(ratings: Ratings, reader: Tensor, recipe: Recipe) -> Tensor:
    """A reader's logits; where nobody judged, `reader_cosine_weight` of the bi-encoder's beside."""
    weight = recipe.reader_cosine_weight * (~ratings.are_judged).float().unsqueeze(-1)
    log_odds = _cosine_log_odds(ratings.cosines, recipe)
    return reader + weight * log_odds.clamp(-_MOST_LOG_ODDS, _MOST_LOG_ODDS)


def pointwise_loss(logits: Tensor, ratings: Ratings, recipe: Recipe) -> Tensor:
    """Binary cross entropy of each candidate against the label, mixed with the teacher's opinion.

    Here a candidate without a grade counts as not relevant with `hard_weight`: nothing else tells
    it from the relevant one.
    """
    label = (ratings.grades > 0).float()
    teacher = torch.sigmoid(_cosine_log_odds(ratings.cosines, recipe))
    target = recipe.hard_weight * label + (1.0 - recipe.hard_weight) * teacher
    return functional.binary_cross_entropy_with_logits(logits, target)


def _cosine_log_odds(cosines: Tensor, recipe: Recipe) -> Tensor:
    """The bi-encoder calls a pair relevant with sigmoid((cosine - midpoint) / scale)."""
    return (cosines - recipe.cosine_midpoint) / recipe.cosine_scale


def embedding_loss(means: Tensor, embeddings: Tensor, reserved: Sequence[int]) -> Tensor:
    """One minus the mean cosine of segments and the teacher's embeddings of the same texts.

    Args:
        means: (num_segments, hidden) mean hidden states of a segment's tokens.
        embeddings: (num_segments, hidden) the teacher's.
        reserved: coordinates that mean something else in the student and are left out.
    """
    compared = means.index_fill(1, torch.tensor(reserved, device=means.device), 0.0)
    return 1.0 - functional.cosine_similarity(compared, embeddings, dim=1).mean()
