"""Teaching a cut encoder to embed each segment as the base model embeds the text alone.

Texts are read in pairs as they come, so that the lesson is also to look past the other segment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertModel

from zen_fast.train.errors import ResumeError
from zen_fast.train.loss import embedding_loss
from zen_fast.train.recipe import Recipe
from zen_fast.train.resuming import changed_fields, save_state
from zen_fast.train.student.reading import encode, means_of_segments, multiplied_in_bf16
from zen_fast.train.student.segments import Reserved, keep_segments_apart, restore_flags
from zen_fast.train.teacher import Scores
from zen_fast.train.token_table import Indices, TokenTable

Embeddings = npt.NDArray[np.float16]
Draw = Callable[[int], tuple[Sequence[str], Sequence[str]]]
"""The queries and the documents of a step, as many of each."""
Embed = Callable[[Sequence[str]], Scores]
"""The base model's embeddings, (num_texts, hidden)."""

CHECKPOINT_EVERY = 100
_PRINT_EVERY = 50
_WARMUP_STEPS = 50
_RESTORE_FLAGS_EVERY = 20
_DECAY_SHARE = 0.6
_MAX_GRAD_NORM = 1.0


def segment_means(
    encoder: BertModel,
    tokenizer: Tokenizer,
    queries: Sequence[str],
    documents: Sequence[str],
    recipe: Recipe,
) -> Iterator[tuple[Indices, Tensor, Tensor]]:
    """What an encoder makes of queries and documents, one of each in a pair.

    Yields:
        some pairs' places, and their segments' mean hidden states, each (num_places, hidden).
    """
    lengths = recipe.max_query_length, recipe.max_length
    table = TokenTable(tokenizer, [*queries, *documents], *lengths, encoder.device)
    numbers = np.arange(len(queries))
    for places, pairs in table.batches(numbers, numbers + len(queries)):
        with multiplied_in_bf16(encoder.device):
            states = encode(encoder, pairs).last_hidden_state
        yield places, *means_of_segments(states.float(), pairs)


class SegmentDistillation:
    """An encoder on its way, its words frozen; goes on from its checkpoint where there is one.

    Args:
        encoder: changed in place.
        embed: asked about every text that is drawn.
        checkpoint: a file, written now and then and behind the last step.

    Raises:
        ResumeError: the checkpoint is of another recipe.
    """

    def __init__(
        self,
        encoder: BertModel,
        reserved: Reserved,
        tokenizer: Tokenizer,
        draw: Draw,
        embed: Embed,
        recipe: Recipe,
        checkpoint: Path,
    ) -> None:
        self.losses: list[float] = []
        """Of each step so far."""
        self._encoder = encoder
        self._reserved = reserved
        self._tokenizer = tokenizer
        self._draw = draw
        self._embed = embed
        self._recipe = recipe
        self._checkpoint = checkpoint
        # Words that training never shows keep their place beside those it does.
        encoder.embeddings.word_embeddings.requires_grad_(False)
        self._parameters = [part for part in encoder.parameters() if part.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=recipe.distillation_learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
        )
        if checkpoint.is_file():
            self._resume()

    def run(self) -> None:
        """Train to the last step."""
        num_steps = self._recipe.distillation_steps
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        with Progress(*columns, TimeRemainingColumn()) as progress:
            bar = progress.add_task("distillation", total=num_steps)
            for step in range(len(self.losses), num_steps):
                self.losses.append(self._step(step))
                recent = fmean(self.losses[-_PRINT_EVERY:])
                done = step + 1
                progress.update(bar, completed=done, description=f"distillation {recent:.3f}")
                if done % _PRINT_EVERY == 0:
                    progress.console.print(f"distillation step {done}: loss {recent:.4f}")
                if done % CHECKPOINT_EVERY == 0 or done == num_steps:
                    self._save()

    def _step(self, step: int) -> float:
        """Returns the loss: one minus the mean cosine of the step's texts."""
        for group in self._optimizer.param_groups:
            group["lr"] = self._recipe.distillation_learning_rate * self._schedule(step)
        self._optimizer.zero_grad()
        texts = self._draw(step)
        if step % _RESTORE_FLAGS_EVERY == 0:
            restore_flags(
                self._encoder, self._reserved, lambda: deque(self._means(texts), maxlen=0)
            )
        wanted = np.stack([self._embed(segment) for segment in texts]).astype(np.float32)
        total = 0.0
        for places, *means in self._means(texts):
            given = torch.from_numpy(wanted[:, places]).to(self._encoder.device).flatten(0, 1)
            loss = embedding_loss(torch.cat(means), given, self._reserved.all)
            loss = loss * (len(places) / wanted.shape[1])
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._parameters, _MAX_GRAD_NORM)
        self._optimizer.step()
        keep_segments_apart(self._encoder, self._reserved)
        return total

    def _means(
        self, texts: tuple[Sequence[str], Sequence[str]]
    ) -> Iterator[tuple[Indices, Tensor, Tensor]]:
        return segment_means(self._encoder, self._tokenizer, *texts, self._recipe)

    def _schedule(self, step: int) -> float:
        """Warm-up, constant, then linear decay to zero."""
        num_steps = self._recipe.distillation_steps
        decay = (num_steps - step) / (num_steps * _DECAY_SHARE)
        return min(1.0, (step + 1) / _WARMUP_STEPS, decay)

    def _save(self) -> None:
        state = {
            "recipe": self._recipe.distilling(),
            "losses": self.losses,
            "encoder": self._encoder.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        save_state(self._checkpoint, state)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location=self._encoder.device, weights_only=True)
        changed = changed_fields(state["recipe"], self._recipe.distilling())
        if changed:
            raise ResumeError(
                f"{self._checkpoint} is of a recipe with other values of {changed}; give that one "
                "to go on with it, or remove the file to start anew"
            )
        self._encoder.load_state_dict(state["encoder"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.losses = state["losses"]
