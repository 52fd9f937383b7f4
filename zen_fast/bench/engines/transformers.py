"""The baseline: the stock model in PyTorch, as a careful user would run it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from zen_fast.bench.engines import EngineOptions

_BATCH_SIZES = (4, 8, 16, 32, 64, 128)
_CLEARLY_SLOWER = 1.2
"""Beyond its best size the time only grows; from this factor on, larger ones are not tried."""


class TransformersEngine:
    """Length-sorted batches in fp32 under inference mode; the batch size is tuned."""

    def __init__(self, options: EngineOptions) -> None:
        torch.set_num_threads(options.num_threads)
        self._device = options.device
        self._max_length = options.max_length
        self._tokenizer = AutoTokenizer.from_pretrained(options.model_folder)
        model = AutoModelForSequenceClassification.from_pretrained(
            options.model_folder, dtype=torch.float32
        )
        self._model = model.eval().to(options.device)
        self._batch_size = 32

    def logits(self, query: str, documents: Sequence[str]) -> list[float]:
        encoded = self._tokenizer(
            [query] * len(documents),
            list(documents),
            truncation="longest_first",
            max_length=self._max_length,
        )
        lengths = [len(ids) for ids in encoded["input_ids"]]
        order = sorted(range(len(documents)), key=lambda index: -lengths[index])
        result = torch.empty(len(documents))
        with torch.inference_mode():
            for start in range(0, len(order), self._batch_size):
                indices = order[start : start + self._batch_size]
                batch = self._tokenizer.pad(
                    {key: [rows[index] for index in indices] for key, rows in encoded.items()},
                    return_tensors="pt",
                ).to(self._device)
                result[indices] = self._model(**batch).logits[:, 0].float().cpu()
        return [float(logit) for logit in result]

    def tune(self, query: str, documents: Sequence[str]) -> None:
        documents = documents[::2]  # half the time, the same mixture of lengths
        self.logits(query, documents[:4])  # the first pass pays for allocations
        seconds: dict[int, float] = {}
        for batch_size in _BATCH_SIZES:
            if batch_size > 2 * len(documents):
                continue
            self._batch_size = batch_size
            seconds[batch_size] = min(self._seconds(query, documents) for _ in range(2))
            if seconds[batch_size] > _CLEARLY_SLOWER * min(seconds.values()):
                break
        self._batch_size = min(seconds, key=lambda each: seconds[each], default=32)

    def _seconds(self, query: str, documents: Sequence[str]) -> float:
        start = time.perf_counter()
        self.logits(query, documents)
        return time.perf_counter() - start

    def settings(self) -> dict[str, Any]:
        return {
            "version": transformers.__version__,
            "torch": torch.__version__,
            "attention": self._model.config._attn_implementation,
            "batch_size": self._batch_size,
        }
