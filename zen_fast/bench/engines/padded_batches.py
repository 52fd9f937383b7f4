"""What engines that take padded batches share: stock tokens, batches by length, a tuned size."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from transformers import AutoTokenizer

from zen_fast.bench.engines import EngineOptions

Batch = Mapping[str, npt.NDArray[np.int64]]
"""The tokenizer's names → (num_pairs, longest) int64, padded on the tokenizer's side."""

BATCH_SIZES = (4, 8, 16, 32, 64, 128)
_CLEARLY_SLOWER = 1.2
"""Beyond its best size the time only grows; from this factor on, larger ones are not tried."""


class PaddedEngine(ABC):
    """Tokenizes with the stock tokenizer and gives `forward` length-sorted, padded batches."""

    batch_size = 32
    length_multiple = 1
    """Batches are padded to a multiple of so many tokens."""

    def __init__(self, options: EngineOptions) -> None:
        self._max_length = options.max_length
        self._tokenizer = AutoTokenizer.from_pretrained(options.model_folder)

    @abstractmethod
    def forward(self, batch: Batch) -> npt.NDArray[np.float32]:
        """The batch's raw logits: (num_pairs,) float32."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """See zen_fast.bench.engines.Engine."""

    def run_batches(
        self,
        forward: Callable[[list[int]], npt.NDArray[np.float32]],
        batches: Sequence[list[int]],
    ) -> Iterable[npt.NDArray[np.float32]]:
        """Call `forward` with each batch's documents; the results in the batches' order."""
        return map(forward, batches)

    def logits(self, query: str, documents: Sequence[str]) -> list[float]:
        encoded = self._tokenizer(
            [query] * len(documents),
            list(documents),
            truncation="longest_first",
            max_length=self._max_length,
        )

        def forward(indices: list[int]) -> npt.NDArray[np.float32]:
            return self.forward(
                self._tokenizer.pad(
                    {key: [rows[index] for index in indices] for key, rows in encoded.items()},
                    pad_to_multiple_of=self.length_multiple,
                    return_tensors="np",
                )
            )

        lengths = [len(ids) for ids in encoded["input_ids"]]
        order = sorted(range(len(documents)), key=lambda index: -lengths[index])
        size = self.batch_size
        batches = [order[start : start + size] for start in range(0, len(order), size)]
        result = np.empty(len(documents), dtype=np.float32)
        for indices, logits in zip(batches, self.run_batches(forward, batches), strict=True):
            result[indices] = logits
        return [float(logit) for logit in result]

    def tune(self, query: str, documents: Sequence[str]) -> None:
        self.tune_batch_size(query, documents)

    def tune_batch_size(self, query: str, documents: Sequence[str]) -> float:
        """Choose the batch size; seconds that half of the documents take with it."""
        documents = documents[::2]  # half the time, the same mixture of lengths
        self.logits(query, documents[:4])  # the first pass pays for allocations
        seconds: dict[int, float] = {}
        for batch_size in BATCH_SIZES:
            if seconds and batch_size > 2 * len(documents):
                break
            self.batch_size = batch_size
            seconds[batch_size] = min(self._seconds(query, documents) for _ in range(2))
            if seconds[batch_size] > _CLEARLY_SLOWER * min(seconds.values()):
                break
        self.batch_size = min(seconds, key=lambda each: seconds[each])
        return seconds[self.batch_size]

    def _seconds(self, query: str, documents: Sequence[str]) -> float:
        start = time.perf_counter()
        self.logits(query, documents)
        return time.perf_counter() - start
