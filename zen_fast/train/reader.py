"""Readers: cross-encoders whose logits a model learns beside labels, or where there are none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zen_fast.reranker import ZenReranker
from zen_fast.train.list_table import NO_TEXT, ListTable
from zen_fast.train.recipe import Recipe


def read_lists(
    readers: Sequence[str], lists: ListTable, recipe: Recipe, device: str = "cpu"
) -> NDArray[np.float32]:
    """(num_lists, num_candidates) logits of lists, 0 where one is shorter; shows progress.

    Args:
        readers: (num_lists) the model that reads each list: embedded, a folder or a hub id.

    Raises:
        ModelNotFoundError: there is no such model.
    """
    logits = np.zeros(lists.documents.shape, np.float32)
    for model in sorted(set(readers)):
        reader = ZenReranker.from_pretrained(
            model,
            device=device,
            precision=recipe.teacher_precision if device == "cpu" else "fp16",
            max_length=recipe.max_length,
            activation="identity",
        )
        rows = np.flatnonzero([each == model for each in readers])
        pairs = [
            (lists.texts[query], lists.texts[document])
            for query, document in zip(*lists.pairs(rows), strict=True)
        ]
        part = logits[rows]
        part[lists.documents[rows] != NO_TEXT] = reader.predict(pairs, show_progress_bar=True)
        logits[rows] = part
    return logits
