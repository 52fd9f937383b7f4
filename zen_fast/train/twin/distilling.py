"""The loop: the twin learns to score as its teacher does, list by list."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertForSequenceClassification

from zen_fast.batching import TokenizedPair
from zen_fast.engine import Engine
from zen_fast.train.twin.lists import UnjudgedList
from zen_fast.train.twin.reading import query_independent_logits

_LISTS_PER_STEP = 4
_PAIRS_PER_FORWARD = 9
_WEIGHT_DECAY = 0.01
_WARMUP_STEPS = 50
_MAX_GRAD_NORM = 1.0
_LEVEL_WEIGHT = 0.5


@dataclass(frozen=True)
class Progress:
    """What became of one step."""

    step: int
    loss: float
    seconds: float


def distill(
    twin: BertForSequenceClassification,
    teacher: Engine,
    lists: Sequence[UnjudgedList],
    num_steps: int,
    learning_rate: float,
    report: Callable[[Progress], object],
) -> None:
    """Train `twin` in place for `num_steps`, going through `lists` as often as that takes."""
    twin.train()
    # Words that the lists never show keep their place beside those they do.
    twin.bert.embeddings.word_embeddings.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in twin.parameters() if parameter.requires_grad],
        lr=learning_rate,
        weight_decay=_WEIGHT_DECAY,
    )
    for step in range(num_steps):
        started = time.perf_counter()
        chosen = [
            lists[(step * _LISTS_PER_STEP + place) % len(lists)] for place in range(_LISTS_PER_STEP)
        ]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * _schedule(step, num_steps)
        optimizer.zero_grad()
        loss = distillation_loss(twin, teacher, chosen)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(twin.parameters(), _MAX_GRAD_NORM)
        optimizer.step()
        report(Progress(step + 1, float(loss.item()), time.perf_counter() - started))
    twin.train(False)


def distillation_loss(
    twin: BertForSequenceClassification, teacher: Engine, lists: Sequence[UnjudgedList]
) -> Tensor:
    """Cross entropy of the two softmaxes over each list, and the squared difference of levels."""
    queries = [each.query for each in lists for _ in each.documents]
    documents = [document for each in lists for document in each.documents]
    pairs = teacher.encode(queries, documents).sequences
    wanted = torch.from_numpy(teacher.run(pairs)).view(len(lists), -1)
    logits = _logits(twin, pairs).cpu().view(len(lists), -1)
    order = -(wanted.softmax(dim=-1) * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
    return order + _LEVEL_WEIGHT * functional.mse_loss(logits, wanted)


def _logits(twin: BertForSequenceClassification, pairs: Sequence[TokenizedPair]) -> Tensor:
    """In chunks of similar length, so that padding is small: (num_pairs,)."""
    order = np.argsort([len(pair) for pair in pairs], kind="stable")
    chunks = np.split(order, range(_PAIRS_PER_FORWARD, len(order), _PAIRS_PER_FORWARD))
    logits = torch.cat(
        [query_independent_logits(twin, [pairs[index] for index in chunk]) for chunk in chunks]
    )
    return logits[torch.from_numpy(np.argsort(order))].squeeze(-1)


def _schedule(step: int, num_steps: int) -> float:
    """Warm-up, then linear decay to zero."""
    return min((step + 1) / _WARMUP_STEPS, (num_steps - step) / max(1, num_steps - _WARMUP_STEPS))
