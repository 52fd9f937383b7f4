"""The training loss."""

import pytest
import torch

from zen_fast.train.loss import graded_targets, listwise_softmax_loss, reranking_loss

_SETTINGS = {
    "cosine_temperature": 0.05,
    "bm25_temperature": 0.2,
    "pointwise_weight": 0.3,
    "cosine_midpoint": 0.4,
    "cosine_scale": 0.1,
}


def test_graded_targets_follow_ndcg_gain() -> None:
    targets = graded_targets(torch.tensor([[2, 1, 0, 0]]))
    assert targets.tolist() == [pytest.approx([0.75, 0.25, 0.0, 0.0])]


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
    grades, cosines = torch.tensor([[1, 0, 0]]), torch.tensor([[0.8, 0.1, 0.0]])
    right, shifted = torch.tensor([[3.0, -3.0, -3.0]]), torch.tensor([[9.0, 3.0, 3.0]])
    losses = [
        reranking_loss(logits, grades, cosines, torch.zeros(1, 3), hard_weight=1.0, **_SETTINGS)
        for logits in (right, shifted)
    ]
    assert losses[0] < losses[1]


@pytest.mark.parametrize(
    ("cosines", "bm25"), [([0.1, 0.7], [0.5, 0.5]), ([0.4, 0.4], [0.2, 1.0])], ids=["dense", "bm25"]
)
def test_reranking_loss_without_hard_weight_follows_both_halves_of_the_teacher(
    cosines: list[float], bm25: list[float]
) -> None:
    grades = torch.tensor([[1, 0]])
    agreeing, opposing = torch.tensor([[-2.0, 2.0]]), torch.tensor([[2.0, -2.0]])
    losses = [
        reranking_loss(
            logits,
            grades,
            torch.tensor([cosines]),
            torch.tensor([bm25]),
            hard_weight=0.0,
            **_SETTINGS,
        )
        for logits in (agreeing, opposing)
    ]
    assert losses[0] < losses[1]


def test_reranking_loss_takes_no_label_for_no_verdict() -> None:
    """A passage that nobody judged is held to what the teacher thinks of it."""
    grades, cosines = torch.tensor([[1, 0]]), torch.tensor([[0.9, 0.8]])
    settings = {**_SETTINGS, "pointwise_weight": 100.0}
    losses = [
        reranking_loss(logits, grades, cosines, torch.zeros(1, 2), hard_weight=1.0, **settings)
        for logits in (torch.tensor([[4.0, 4.0]]), torch.tensor([[4.0, -4.0]]))
    ]
    assert losses[0] < losses[1]
