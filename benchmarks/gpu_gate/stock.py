"""The stock model on packed ids: padded batches that lie on the GPU before the clock starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from zen_fast.batching import TokenizedPair

BATCH_SIZES = (16, 32, 64, 128)


class StockModel:
    """transformers with SDPA, as a careful user would run it, without its tokenizer."""

    def __init__(self, folder: Path, device: str, dtype: torch.dtype) -> None:
        self._device = device
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa"
        )
        self._model = model.eval().to(device)

    def compile(self) -> None:
        """torch.compile for batches of any size."""
        self._model = torch.compile(self._model, dynamic=True)

    def batches(self, pairs: Sequence[TokenizedPair], size: int) -> list[dict[str, Tensor]]:
        """Batches of `size` pairs, longest first, padded to the longest of each."""
        ordered = [pairs[index] for index in _order(pairs)]
        return [self._pad(ordered[first : first + size]) for first in range(0, len(pairs), size)]

    def run(self, batches: Sequence[dict[str, Tensor]]) -> NDArray[np.float32]:
        """Logits (num_pairs,), longest pair first."""
        with torch.inference_mode():
            logits = torch.cat([self._model(**batch).logits[:, 0] for batch in batches])
        result: NDArray[np.float32] = logits.float().cpu().numpy()
        return result

    def logits(self, pairs: Sequence[TokenizedPair], size: int) -> list[float]:
        """Logits in input order."""
        result = np.empty(len(pairs), np.float32)
        result[_order(pairs)] = self.run(self.batches(pairs, size))
        return [float(each) for each in result]

    def _pad(self, pairs: Sequence[TokenizedPair]) -> dict[str, Tensor]:
        longest = max(map(len, pairs))
        ids, types, mask = np.zeros((3, len(pairs), longest), np.int64)
        for row, pair in enumerate(pairs):
            ids[row, : len(pair)] = pair.token_ids
            types[row, : len(pair)] = pair.token_type_ids
            mask[row, : len(pair)] = 1
        named = {"input_ids": ids, "token_type_ids": types, "attention_mask": mask}
        return {name: torch.from_numpy(each).to(self._device) for name, each in named.items()}


def _order(pairs: Sequence[TokenizedPair]) -> list[int]:
    return sorted(range(len(pairs)), key=lambda index: -len(pairs[index]))
