"""The baseline: the stock model in PyTorch, as a careful user would run it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers import AutoModelForSequenceClassification

from zen_fast.bench.engines import EngineOptions
from zen_fast.bench.engines.padded_batches import Batch, PaddedEngine


class TransformersEngine(PaddedEngine):
    """Length-sorted batches under inference mode; the batch size is tuned."""

    dtype = torch.float32

    def __init__(self, options: EngineOptions) -> None:
        torch.set_num_threads(options.num_threads)
        super().__init__(options)
        self._device = options.device
        model = AutoModelForSequenceClassification.from_pretrained(
            options.model_folder, dtype=self.dtype
        )
        self._model = model.eval().to(options.device)

    def forward(self, batch: Batch) -> npt.NDArray[np.float32]:
        tensors = {name: torch.from_numpy(ids).to(self._device) for name, ids in batch.items()}
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = (
                self._model(**tensors).logits[:, 0].float().cpu().numpy()
            )
        return logits

    def settings(self) -> dict[str, Any]:
        return {
            "version": transformers.__version__,
            "torch": torch.__version__,
            "attention": self._model.config._attn_implementation,
            "batch_size": self.batch_size,
        }


class TransformersHalf(TransformersEngine):
    """The same in fp16, as one would run it on a GPU."""

    dtype = torch.float16
    precision = "fp16"
