"""Setting the classifier: how much a cosine and a repeated word are worth, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from zen_fast.train.candidate_lists import CandidateList, rated_lists
from zen_fast.train.loss import Ratings, reranking_loss
from zen_fast.train.pairs import PairEncoder
from zen_fast.train.recipe import Recipe
from zen_fast.train.student.cosine_layer import Features
from zen_fast.train.student.sample import read_sample

_SLOPE = 0.06
"""Scale of the pooler's inputs, small enough for a tanh that is nearly a line. (With 0.25 it was
not: of many repeated words the best passage's were worth no more than the next one's.)"""
_FRESH_DEVIATION = 0.02


def calibrate(
    student: BertForSequenceClassification,
    features: Features,
    lists: Sequence[CandidateList],
    pairs: PairEncoder,
    recipe: Recipe,
) -> float:
    """Fit the classifier to the listwise loss on some lists; returns that loss."""
    values = torch.stack([_read_features(student, features, item, pairs) for item in lists])
    centre = values.mean(dim=(0, 1))
    ratings = Ratings.of(rated_lists(lists))
    solution = torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.LBFGS([solution], max_iter=200, line_search_fn="strong_wolfe")

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        loss = reranking_loss((values - centre) @ solution[:2] + solution[2], ratings, recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(evaluate)  # type: ignore[no-untyped-call]
    _set_classifier(student, features, centre, solution.detach())
    return float(evaluate().item())


@torch.no_grad()
def _read_features(
    student: BertForSequenceClassification,
    features: Features,
    item: CandidateList,
    pairs: PairEncoder,
) -> Tensor:
    """(num_candidates, 2) cosine and words."""
    sample = read_sample(student.bert, pairs.encode(item.query, item.documents))
    states = sample.scored_states(student.config)
    return torch.stack([states[:, features.cosine].mean(dim=1), states[:, features.words]], dim=1)


@torch.no_grad()
def _set_classifier(
    student: BertForSequenceClassification, features: Features, centre: Tensor, solution: Tensor
) -> None:
    """As many pooled coordinates for the words as for the cosine; the others start at no weight."""
    pooler: Any = student.bert.pooler
    dense, classifier = pooler.dense, student.classifier
    dense.weight.normal_(0, _FRESH_DEVIATION)
    dense.bias.zero_()
    classifier.weight.zero_()
    copies = len(features.cosine)
    for place, columns in enumerate((list(features.cosine), [features.words])):
        rows = slice(place * copies, (place + 1) * copies)
        dense.weight[rows] = 0
        dense.weight[rows, columns] = _SLOPE / len(columns)
        dense.bias[rows] = -_SLOPE * centre[place]
        classifier.weight[0, rows] = solution[place] / (_SLOPE * copies)
    classifier.bias[0] = solution[2]
