"""The training loss: a listwise softmax for the order, a pointwise term for the level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from zen_fast.train.examples import CandidateList
from zen_fast.train.recipe import Recipe


def graded_targets(grades: Tensor) -> Tensor:
    """Turn grades into a distribution over candidates, gain 2^grade - 1 (as in nDCG).

    Args:
        grades: (num_lists, num_candidates) int or float, 0 for not relevant; each list needs one
            grade above 0.

    Returns:
        (num_lists, num_candidates) float, rows sum to 1.
    """
    gains = torch.exp2(grades.float()) - 1.0
    return gains / gains.sum(dim=-1, keepdim=True)


def listwise_softmax_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy between target distributions and the softmax over each list (ListNet).

    Cao et al., "Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007.
    """
    return -(targets * functional.log_softmax(logits, dim=-1)).sum(dim=-1).mean()


def reranking_loss(
    logits: Tensor,
    grades: Tensor,
    cosines: Tensor,
    bm25: Tensor,
    *,
    hard_weight: float,
    cosine_temperature: float,
    bm25_temperature: float,
    pointwise_weight: float,
    cosine_midpoint: float,
    cosine_scale: float,
) -> Tensor:
    """Mix the judged grades with a hybrid teacher's opinion, listwise and pointwise.

    The teacher is a bi-encoder beside BM25: the two together rank unseen domains better than either
    does, and negatives that BM25 finds hard must not teach that shared words count against a
    document.

    Args:
        logits, grades, cosines, bm25: (num_lists, num_candidates).
        hard_weight: share of the judged label in the order, and in the level of the candidates
            judged relevant; the teacher has the rest.
        cosine_temperature, bm25_temperature: the teacher's softmax is over
            cosines / cosine_temperature + bm25 / bm25_temperature.
        pointwise_weight: weight of the binary cross entropy, which fixes the absolute level that
            a softmax leaves free.
        cosine_midpoint, cosine_scale: the teacher calls a pair relevant with probability
            sigmoid((cosine - midpoint) / scale).
    """
    soft = functional.softmax(cosines / cosine_temperature + bm25 / bm25_temperature, dim=-1)
    order_target = hard_weight * graded_targets(grades) + (1.0 - hard_weight) * soft
    teacher_probability = torch.sigmoid((cosines - cosine_midpoint) / cosine_scale)
    # Collections name a relevant document or two; of the others nothing is known.
    known = hard_weight * (grades > 0).float()
    level_target = known + (1.0 - known) * teacher_probability
    level = functional.binary_cross_entropy_with_logits(logits, level_target)
    return listwise_softmax_loss(logits, order_target) + pointwise_weight * level


def list_loss(logits: Tensor, lists: Sequence[CandidateList], recipe: Recipe) -> Tensor:
    """`reranking_loss` of (num_lists, num_candidates) logits, as a recipe weighs it."""
    return reranking_loss(
        logits,
        torch.tensor([item.grades for item in lists]),
        torch.tensor([item.cosines for item in lists]),
        torch.tensor([item.bm25 for item in lists]),
        hard_weight=recipe.hard_weight,
        cosine_temperature=recipe.cosine_temperature,
        bm25_temperature=recipe.bm25_temperature,
        pointwise_weight=recipe.pointwise_weight,
        cosine_midpoint=recipe.cosine_midpoint,
        cosine_scale=recipe.cosine_scale,
    )


def embedding_loss(means: Tensor, embeddings: Tensor, reserved: Sequence[int]) -> Tensor:
    """One minus the mean cosine of segments and the teacher's embeddings of the same texts.

    Args:
        means: (num_segments, hidden) mean hidden states of a segment's tokens.
        embeddings: (num_segments, hidden) the teacher's.
        reserved: coordinates that mean something else in the student and are left out.
    """
    compared = means.index_fill(1, torch.tensor(reserved, device=means.device), 0.0)
    return 1.0 - functional.cosine_similarity(compared, embeddings, dim=1).mean()
