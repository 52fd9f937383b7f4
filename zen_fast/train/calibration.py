"""Platt scaling, folded into the classifier: an affine map keeps every order, fixes the level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertForSequenceClassification


def fit_scale_and_bias(
    logits: Sequence[Tensor], grades: Sequence[Sequence[int]]
) -> tuple[float, float]:
    """Fit sigmoid(scale * logit + bias) to relevance, both classes weighing the same.

    Platt, "Probabilistic Outputs for Support Vector Machines", 1999.

    Args:
        logits, grades: per list (num_candidates,).
    """
    flat = torch.cat(list(logits)).double()
    relevant = torch.tensor([float(grade > 0) for row in grades for grade in row]).double()
    weight = torch.where(relevant > 0, 0.5 / relevant.mean(), 0.5 / (1.0 - relevant.mean()))
    affine = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([affine], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(
            flat * affine[0] + affine[1], relevant, weight
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scale, bias = affine.tolist()
    return scale, bias


def fold_into_classifier(student: BertForSequenceClassification, scale: float, bias: float) -> None:
    """Make the student's logits `scale * logit + bias`, in place."""
    with torch.no_grad():
        student.classifier.weight.mul_(scale)
        student.classifier.bias.mul_(scale).add_(bias)
