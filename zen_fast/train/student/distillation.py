"""Teaching a cut encoder to embed each segment as the base model embeds the text alone."""

from __future__ import annotations

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
from zen_fast.train.pairs import segment_ids
from zen_fast.train.recipe import Recipe
from zen_fast.train.resuming import changed_fields, save_state
from zen_fast.train.student.reading import mean_where, multiplied_in_bf16
from zen_fast.train.student.segments import Reserved, keep_segments_apart, restore_flags
from zen_fast.train.teacher import Scores
from zen_fast.train.token_table import padded_length

Embeddings = npt.NDArray[np.float16]
Draw = Callable[[int], tuple[Sequence[str], Sequence[str]]]
"""The queries and the documents of a step."""
Embed = Callable[[Sequence[str]], Scores]
"""The base model's embeddings, (num_texts, hidden)."""

CHECKPOINT_EVERY = 100
_PRINT_EVERY = 50
_MAX_LENGTH = 128
_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 32768}
"""Padded: as many as fill the device, and on a CPU as fit its cache."""
_POSITIONS = (4, 36)
"""Where a document begins: behind queries of 2 to 34 tokens."""
_WARMUP_STEPS = 50
_RESTORE_FLAGS_EVERY = 20
_DECAY_SHARE = 0.6
_MAX_GRAD_NORM = 1.0


class SegmentReader:
    """Reads single texts in the place that they have in a pair."""

    def __init__(self, encoder: BertModel, tokenizer: Tokenizer, rng: np.random.Generator) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._rng = rng

    def batches(self, texts: Sequence[str], segment: int) -> Iterator[tuple[list[int], Tensor]]:
        """Mean hidden states (num_rows, hidden) of texts of like lengths, and which these are.

        A query (segment 0) begins with [CLS], at position 0; a document (1) anywhere.
        """
        rows = segment_ids(self._tokenizer, texts, segment, _MAX_LENGTH)
        room = _TOKENS_AT_ONCE[self._encoder.device.type]
        left = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        while left:
            count = max(1, room // len(rows[left[-1]]))
            left, some = left[:-count], left[-count:]
            yield some, self._means([rows[index] for index in some], segment)

    def means(self, texts: Sequence[str], segment: int) -> Tensor:
        """The same of all texts, in their order."""
        places, parts = zip(*self.batches(texts, segment), strict=True)
        return torch.cat(parts)[torch.from_numpy(np.argsort(np.concatenate(places)))]

    def read(self, segments: Sequence[Sequence[str]]) -> None:
        """Read queries and documents for whoever observes the encoder."""
        for segment, texts in enumerate(segments):
            self.means(texts, segment)

    def _means(self, rows: Sequence[Sequence[int]], segment: int) -> Tensor:
        device = self._encoder.device
        lengths = np.array([len(row) for row in rows])
        places = np.arange(padded_length(int(lengths.max()), device))
        is_token = places < lengths[:, None]
        ids = np.zeros(is_token.shape, np.int64)
        ids[is_token] = np.concatenate(rows)
        first = self._rng.integers(*_POSITIONS, len(rows)) * segment
        input_ids, mask, positions = (
            torch.from_numpy(each).to(device)
            for each in (ids, is_token.astype(np.int64), first[:, None] + places)
        )
        with multiplied_in_bf16(device):
            states = self._encoder(
                input_ids=input_ids,
                attention_mask=mask,
                token_type_ids=torch.full_like(input_ids, segment),
                position_ids=positions,
            ).last_hidden_state
        return mean_where(states.float(), mask)


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
        segments = self._draw(step)
        num_texts = sum(map(len, segments))
        rng = np.random.default_rng([self._recipe.seed, step])
        reader = SegmentReader(self._encoder, self._tokenizer, rng)
        if step % _RESTORE_FLAGS_EVERY == 0:
            restore_flags(self._encoder, self._reserved, lambda: reader.read(segments))
        total = 0.0
        for segment, texts in enumerate(segments):
            wanted = torch.from_numpy(self._embed(texts).astype(np.float32))
            for places, means in reader.batches(texts, segment):
                given = wanted[places].to(means.device)
                loss = embedding_loss(means, given, self._reserved.all) * len(places) / num_texts
                loss.backward()  # type: ignore[no-untyped-call]
                total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(self._parameters, _MAX_GRAD_NORM)
        self._optimizer.step()
        keep_segments_apart(self._encoder, self._reserved)
        return total

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
