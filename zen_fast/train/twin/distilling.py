"""The loop: the twin learns to score as its teacher does, list by list; resumable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertForSequenceClassification

from zen_fast.train.errors import ResumeError
from zen_fast.train.list_table import ListTable
from zen_fast.train.resuming import save_state
from zen_fast.train.student.reading import read_logits
from zen_fast.train.token_table import TokenTable

CHECKPOINT_EVERY = {"cpu": 50, "cuda": 500}
"""Steps, of seconds or of hundredths."""
_REPORT_EVERY = 10
_LISTS_PER_READING = 64
_WEIGHT_DECAY = 0.01
_WARMUP_STEPS = 50
_MAX_GRAD_NORM = 1.0
_LEVEL_WEIGHT = 0.5


class Distillation:
    """A twin on its way, which goes on from its checkpoint where there is one.

    Args:
        twin: changed in place; the teacher is on the same device.
        tokens: of the lists' texts, on that device.
        settings: what the run was asked for; a checkpoint of other settings is refused.

    Raises:
        ResumeError: the checkpoint is of a run with other settings.
    """

    def __init__(
        self,
        twin: BertForSequenceClassification,
        teacher: BertForSequenceClassification,
        lists: ListTable,
        tokens: TokenTable,
        *,
        num_steps: int,
        lists_per_step: int,
        learning_rate: float,
        checkpoint: Path,
        settings: Mapping[str, Any],
    ) -> None:
        self.losses: list[float] = []
        """Of each step so far."""
        self.twin = twin
        self._lists = lists
        self._tokens = tokens
        self._num_steps = num_steps
        self._lists_per_step = lists_per_step
        self._learning_rate = learning_rate
        self._checkpoint = checkpoint
        self._settings = dict(settings)
        # Words and places that the lists never show keep theirs beside those they do.
        twin.bert.embeddings.word_embeddings.requires_grad_(False)
        twin.bert.embeddings.position_embeddings.requires_grad_(False)
        self._parameters = [part for part in twin.parameters() if part.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=learning_rate,
            weight_decay=_WEIGHT_DECAY,
            fused=twin.device.type == "cuda",
        )
        if checkpoint.is_file():
            self._resume()
        else:
            num_read = min(len(lists), num_steps * lists_per_step)
            self._wanted = teacher_logits(teacher, lists, tokens, num_read)

    def run(self, advance: Callable[[], object]) -> None:
        """Train to the last step, going through the lists as often as that takes.

        Args:
            advance: called whenever `losses` has grown.
        """
        self.twin.train()
        # Kept where they are made: to read one is to wait for the GPU.
        recent: list[Tensor] = []
        for step in range(len(self.losses), self._num_steps):
            recent.append(self._step(step))
            done = step + 1
            is_due = done % CHECKPOINT_EVERY[self.twin.device.type] == 0
            if is_due or done % _REPORT_EVERY == 0 or done == self._num_steps:
                self.losses.extend(torch.stack(recent).tolist())
                recent = []
                advance()
            if is_due:
                self._save()
        self.twin.train(False)
        self._checkpoint.unlink(missing_ok=True)

    def _step(self, step: int) -> Tensor:
        """Returns the loss, on the device."""
        places = np.arange(step * self._lists_per_step, (step + 1) * self._lists_per_step)
        chosen = places % len(self._lists)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate * _schedule(step, self._num_steps)
        self._optimizer.zero_grad()
        wanted = self._wanted[torch.from_numpy(chosen).to(self._wanted.device)]
        logits = read_logits(self.twin, self._tokens, *self._lists.pairs(chosen))
        loss = distillation_loss(logits.view(wanted.shape), wanted)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._parameters, _MAX_GRAD_NORM)
        self._optimizer.step()
        return loss.detach()

    def _save(self) -> None:
        state = {
            "settings": self._settings,
            "losses": self.losses,
            "wanted": self._wanted,
            "twin": self.twin.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "random": torch.get_rng_state(),
        }
        save_state(self._checkpoint, state)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self.twin.device, weights_only=True)
        if state["settings"] != self._settings:
            raise ResumeError(
                f"{self._checkpoint} is of a run with {state['settings']}; give the same options "
                "to go on with it, or remove it to start anew"
            )
        self.twin.load_state_dict(state["twin"])
        self._optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        self.losses = state["losses"]
        self._wanted = state["wanted"]


@torch.no_grad()
def teacher_logits(
    teacher: BertForSequenceClassification, lists: ListTable, tokens: TokenTable, count: int
) -> Tensor:
    """(count, num_candidates) fp32 of the first lists, on the teacher's device."""
    teacher.train(False)
    logits = [
        read_logits(teacher, tokens, *lists.pairs(some))
        for some in np.array_split(np.arange(count), -(-count // _LISTS_PER_READING))
    ]
    return torch.cat(logits).view(count, -1)


def distillation_loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross entropy of the two softmaxes over each list, and the squared difference of levels."""
    order = -(wanted.softmax(dim=-1) * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
    return order + _LEVEL_WEIGHT * functional.mse_loss(logits, wanted)


def _schedule(step: int, num_steps: int) -> float:
    """Warm-up, then linear decay to zero."""
    return min((step + 1) / _WARMUP_STEPS, (num_steps - step) / max(1, num_steps - _WARMUP_STEPS))
