"""The teacher: the base model as the bi-encoder it was trained to be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional
from transformers import BertModel

from zen_fast.train.passages import Scores
from zen_fast.train.vocabulary import load_tokenizer

_MAX_LENGTH = 128
_BATCH = 32


class Teacher:
    """Mean-pooled, normalised sentence embeddings (Reimers and Gurevych, EMNLP 2019)."""

    def __init__(self, base: Path, device: str = "cpu") -> None:
        self._tokenizer = load_tokenizer(base / "tokenizer.json")
        self._tokenizer.enable_truncation(_MAX_LENGTH)
        model: Any = BertModel.from_pretrained(str(base), dtype=torch.float32)
        self._model = model.to(device)
        self._model.requires_grad_(False)
        self._model.train(False)

    @torch.inference_mode()
    def embed(
        self, texts: Sequence[str], advance: Callable[[int], object] = lambda _: None
    ) -> Scores:
        """Embed texts.

        Args:
            advance: called with the number of texts done after each batch.

        Returns:
            (num_texts, hidden) fp32, unit length.
        """
        encodings = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda index: len(encodings[index].ids))
        embeddings = torch.empty(len(texts), self._model.config.hidden_size)
        for start in range(0, len(order), _BATCH):
            indices = order[start : start + _BATCH]
            longest = len(encodings[indices[-1]].ids)
            input_ids = torch.zeros(len(indices), longest, dtype=torch.long)
            mask = torch.zeros_like(input_ids)
            for row, index in enumerate(indices):
                ids = encodings[index].ids
                input_ids[row, : len(ids)] = torch.tensor(ids)
                mask[row, : len(ids)] = 1
            input_ids, mask = input_ids.to(self._model.device), mask.to(self._model.device)
            hidden = self._model(input_ids=input_ids, attention_mask=mask).last_hidden_state
            pooled = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
            embeddings[indices] = functional.normalize(pooled, dim=-1).cpu()
            advance(len(indices))
        vectors: Scores = embeddings.numpy()
        return vectors
