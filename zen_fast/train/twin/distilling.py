"""The loop: the twin learns to score as its teacher does, list by list; resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertForSequenceClassification

from zen_fast.batching import TokenizedPair, schedule
from zen_fast.engine import Engine
from zen_fast.train.errors import ResumeError
from zen_fast.train.twin.lists import UnjudgedList
from zen_fast.train.twin.reading import query_independent_logits

CHECKPOINT_EVERY = 50
_LISTS_PER_STEP = 4
_TOKENS_PER_FORWARD = 1024
_WEIGHT_DECAY = 0.01
_WARMUP_STEPS = 50
_MAX_GRAD_NORM = 1.0
_LEVEL_WEIGHT = 0.5


class Distillation:
    """A twin on its way, which goes on from its checkpoint where there is one.

    Args:
        twin: changed in place.
        settings: what the run was asked for; a checkpoint of other settings is refused.

    Raises:
        ResumeError: the checkpoint is of a run with other settings.
    """

    def __init__(
        self,
        twin: BertForSequenceClassification,
        teacher: Engine,
        lists: Sequence[UnjudgedList],
        num_steps: int,
        learning_rate: float,
        checkpoint: Path,
        settings: Mapping[str, Any],
    ) -> None:
        self.losses: list[float] = []
        """Of each step so far."""
        self._twin = twin
        self._teacher = teacher
        self._lists = lists
        self._num_steps = num_steps
        self._learning_rate = learning_rate
        self._checkpoint = checkpoint
        self._settings = dict(settings)
        # Words that the lists never show keep their place beside those they do.
        twin.bert.embeddings.word_embeddings.requires_grad_(False)
        self._optimizer = torch.optim.AdamW(
            [parameter for parameter in twin.parameters() if parameter.requires_grad],
            lr=learning_rate,
            weight_decay=_WEIGHT_DECAY,
        )
        if checkpoint.is_file():
            self._resume()

    def run(self, advance: Callable[[], object]) -> None:
        """Train to the last step, going through the lists as often as that takes.

        Args:
            advance: called after each step.
        """
        self._twin.train()
        while len(self.losses) < self._num_steps:
            self._step(len(self.losses))
            if len(self.losses) % CHECKPOINT_EVERY == 0:
                self._save()
            advance()
        self._twin.train(False)
        self._checkpoint.unlink(missing_ok=True)

    def _step(self, step: int) -> None:
        places = range(step * _LISTS_PER_STEP, (step + 1) * _LISTS_PER_STEP)
        chosen = [self._lists[place % len(self._lists)] for place in places]
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate * _schedule(step, self._num_steps)
        self._optimizer.zero_grad()
        loss = distillation_loss(self._twin, self._teacher, chosen)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._twin.parameters(), _MAX_GRAD_NORM)
        self._optimizer.step()
        self.losses.append(float(loss.item()))

    def _save(self) -> None:
        partial = self._checkpoint.with_suffix(".partial")
        state = {
            "settings": self._settings,
            "losses": self.losses,
            "twin": self._twin.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        torch.save(state, partial)
        partial.replace(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self._twin.device, weights_only=True)
        if state["settings"] != self._settings:
            raise ResumeError(
                f"{self._checkpoint} is of a run with {state['settings']}; give the same options "
                "to go on with it, or remove it to start anew"
            )
        self._twin.load_state_dict(state["twin"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.losses = state["losses"]


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
    """In batches of similar length, so that padding is small: (num_pairs,)."""
    batches = schedule([len(pair) for pair in pairs], _TOKENS_PER_FORWARD)
    logits = torch.cat(
        [query_independent_logits(twin, [pairs[index] for index in batch]) for batch in batches]
    )
    order = [index for batch in batches for index in batch]
    return logits[torch.tensor(order).argsort()].squeeze(-1)


def _schedule(step: int, num_steps: int) -> float:
    """Warm-up, then linear decay to zero."""
    return min((step + 1) / _WARMUP_STEPS, (num_steps - step) / max(1, num_steps - _WARMUP_STEPS))
