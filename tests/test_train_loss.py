"""The training loss."""

import dataclasses

import pytest
import torch
from toy_training import toy_recipe

from zen_fast.train.loss import (
    Ratings,
    graded_targets,
    list_loss,
    listwise_softmax_loss,
    pointwise_loss,
    reranking_loss,
)

_RECIPE = dataclasses.replace(
    toy_recipe(),
    cosine_temperature=0.05,
    bm25_temperature=0.2,
    pointwise_weight=0.3,
    cosine_midpoint=0.4,
    cosine_scale=0.1,
)


def _loss(
    logits: list[float],
    grades: list[int],
    cosines: list[float],
    bm25: list[float] | None = None,
    **changes: object,
) -> float:
    ratings = Ratings(*(torch.tensor([row]) for row in (grades, cosines, bm25 or [0.0] * 3)))
    return list_loss(
        torch.tensor([logits]), ratings, dataclasses.replace(_RECIPE, **changes)
    ).item()


def test_graded_targets_follow_ndcg_gain() -> None:
    targets = graded_targets(torch.tensor([[2, 1, 0, 0]]))
    assert targets.tolist() == [pytest.approx([0.75, 0.25, 0.0, 0.0])]


def test_graded_targets_of_a_list_without_a_grade_are_zero() -> None:
    assert graded_targets(torch.tensor([[0, 0]])).tolist() == [[0.0, 0.0]]


def test_listwise_softmax_loss_equals_cross_entropy_with_one_relevant() -> None:
    logits = torch.tensor([[1.0, 3.0, -2.0], [0.0, 0.0, 0.0]])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([1, 0]))
    loss = listwise_softmax_loss(logits, torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert loss.item() == pytest.approx(expected.item())


def test_listwise_softmax_loss_ignores_level() -> None:
    logits, targets = torch.randn(3, 5), torch.softmax(torch.randn(3, 5), dim=-1)
    shifted = listwise_softmax_loss(logits + 7.0, targets)
    assert shifted.item() == pytest.approx(listwise_softmax_loss(logits, targets).item(), abs=1e-5)


def test_reranking_loss_prefers_right_level() -> None:
    losses = [
        _loss(logits, [1, 0, 0], [0.8, 0.1, 0.0], hard_weight=1.0)
        for logits in ([3.0, -3.0, -3.0], [9.0, 3.0, 3.0])
    ]
    assert losses[0] < losses[1]


@pytest.mark.parametrize(
    ("cosines", "bm25"), [([0.1, 0.7], [0.5, 0.5]), ([0.4, 0.4], [0.2, 1.0])], ids=["dense", "bm25"]
)
def test_reranking_loss_without_hard_weight_follows_both_halves_of_the_teacher(
    cosines: list[float], bm25: list[float]
) -> None:
    losses = [
        _loss(logits, [1, 0], cosines, bm25, hard_weight=0.0)
        for logits in ([-2.0, 2.0], [2.0, -2.0])
    ]
    assert losses[0] < losses[1]


def test_reranking_loss_takes_no_label_for_no_verdict() -> None:
    """A passage that nobody judged is held to what the teacher thinks of it."""
    losses = [
        _loss(logits, [1, 0], [0.9, 0.8], [0.0, 0.0], hard_weight=1.0, pointwise_weight=100.0)
        for logits in ([4.0, 4.0], [4.0, -4.0])
    ]
    assert losses[0] < losses[1]


def test_reranking_loss_of_a_list_that_nobody_judged_is_the_teachers_alone() -> None:
    cosines, bm25 = [0.5, 0.1, 0.3], [1.0, 0.2, 0.0]
    expected = _loss([1.0, 0.0, -1.0], [1, 0, 0], cosines, bm25, hard_weight=0.0)
    assert _loss([1.0, 0.0, -1.0], [0, 0, 0], cosines, bm25, hard_weight=0.9) == expected


def test_reranking_loss_with_a_reader_takes_order_and_level_from_its_logits() -> None:
    logits = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    reader = torch.tensor([[0.3, 0.2], [3.0, -3.0]])
    cosines = torch.tensor([[0.4, 0.1], [0.9, 0.3]])
    ratings = Ratings(torch.tensor([[0, 2], [0, 0]]), cosines, torch.ones(2, 2), reader)
    recipe = dataclasses.replace(_RECIPE, reader_cosine_weight=0.5, hard_weight=0.75)
    # Half of the log odds where nobody judged: (0.3 - 0.4) / 0.1, and never more than 5.
    wanted = torch.tensor([[0.3, 0.2], [5.5, -3.5]])
    hard = torch.tensor([[0.75], [0.0]])
    relevant = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    order = hard * relevant + (1 - hard) * wanted.softmax(dim=-1)
    expected = listwise_softmax_loss(logits, order) + 0.3 * (logits - wanted).square().mean()
    assert list_loss(logits, ratings, recipe).item() == pytest.approx(expected.item())


def test_pointwise_loss_is_binary_cross_entropy_against_label_and_teacher() -> None:
    logits, cosines = torch.tensor([[1.5, -0.5]]), torch.tensor([[0.5, 0.3]])
    ratings = Ratings(torch.tensor([[2, 0]]), cosines, torch.zeros(1, 2))
    recipe = dataclasses.replace(_RECIPE, hard_weight=0.75, loss="pointwise")
    teacher = torch.sigmoid(torch.tensor([[1.0, -1.0]]))
    target = 0.75 * torch.tensor([[1.0, 0.0]]) + 0.25 * teacher
    probability = torch.sigmoid(logits)
    expected = -(target * probability.log() + (1 - target) * (1 - probability).log()).mean()
    assert pointwise_loss(logits, ratings, recipe).item() == pytest.approx(expected.item())
    assert list_loss(logits, ratings, recipe).item() == pytest.approx(expected.item())
    assert list_loss(logits, ratings, _RECIPE) == reranking_loss(logits, ratings, _RECIPE)
