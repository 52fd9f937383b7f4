"""Teaching a cut encoder to embed each segment as the base model embeds the text alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertModel

from zen_fast.train.loss import embedding_loss
from zen_fast.train.pairs import segment_ids
from zen_fast.train.recipe import Recipe
from zen_fast.train.student.reading import mean_where
from zen_fast.train.student.segments import Reserved, keep_segments_apart

Embeddings = npt.NDArray[np.float16]

_MAX_LENGTH = 128
_POSITIONS = (4, 36)
"""Where a document begins: behind queries of 2 to 34 tokens."""
_WARMUP_STEPS = 50
_DECAY_SHARE = 0.6
_MAX_GRAD_NORM = 1.0


class SegmentReader:
    """Reads single texts in the place that they have in a pair."""

    def __init__(self, encoder: BertModel, tokenizer: Tokenizer, seed: int) -> None:
        self._encoder = encoder
        self._tokenizer = tokenizer
        self._rng = np.random.default_rng(seed)

    def means(self, texts: Sequence[str], segment: int) -> Tensor:
        """(num_texts, hidden) mean hidden states; segment 0 for queries, 1 for documents.

        A query begins with [CLS], at position 0; a document anywhere.
        """
        rows = segment_ids(self._tokenizer, texts, segment, _MAX_LENGTH)
        longest = max(map(len, rows))
        input_ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(input_ids)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        first = self._rng.integers(*_POSITIONS, len(rows)) * segment
        positions = torch.from_numpy(first)[:, None] + torch.arange(longest)
        device = self._encoder.device
        states = self._encoder(
            input_ids=input_ids.to(device),
            attention_mask=mask.to(device),
            token_type_ids=torch.full_like(input_ids, segment).to(device),
            position_ids=positions.to(device),
        ).last_hidden_state
        return mean_where(states, mask.to(device))


def distill(
    encoder: BertModel,
    reserved: Reserved,
    tokenizer: Tokenizer,
    queries: tuple[Sequence[str], Embeddings],
    documents: tuple[Sequence[str], Embeddings],
    recipe: Recipe,
) -> None:
    """Train an encoder in place, its words frozen.

    Args:
        queries, documents: texts, and the base model's embeddings of them, (num_texts, hidden).
    """
    # Words that training never shows keep their place beside those it does.
    encoder.embeddings.word_embeddings.requires_grad_(False)
    parameters = [part for part in encoder.parameters() if part.requires_grad]
    peak = recipe.distillation_learning_rate
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.99), weight_decay=0.0)
    reader = SegmentReader(encoder, tokenizer, recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    steps = recipe.distillation_steps
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    recent: list[float] = []
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("distillation", total=steps)
        for step in range(steps):
            decay = (steps - step) / (steps * _DECAY_SHARE)
            for group in optimizer.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / _WARMUP_STEPS, decay)
            optimizer.zero_grad()
            loss = torch.zeros(())
            for segment, (texts, embeddings) in enumerate((queries, documents)):
                chosen = rng.choice(len(texts), recipe.distillation_texts // 2)
                means = reader.means([texts[index] for index in chosen], segment)
                wanted = torch.from_numpy(embeddings[chosen].astype(np.float32)).to(means.device)
                loss = loss + embedding_loss(means, wanted, reserved.all) / 2
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, _MAX_GRAD_NORM)
            optimizer.step()
            keep_segments_apart(encoder, reserved)
            recent = [*recent, float(loss.item())][-50:]
            shown = sum(recent) / len(recent)
            progress.update(bar, completed=step + 1, description=f"distillation {shown:.3f}")
            if (step + 1) % 50 == 0:
                progress.console.print(f"distillation step {step + 1}: loss {shown:.4f}")
