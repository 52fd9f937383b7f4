"""sentence-transformers' CrossEncoder.predict with its default settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sentence_transformers
import torch
from sentence_transformers import CrossEncoder

from zen_fast.bench.engines import EngineOptions


class CrossEncoderEngine:
    """The way most users run a cross-encoder today."""

    dtype = torch.float32

    def __init__(self, options: EngineOptions) -> None:
        torch.set_num_threads(options.num_threads)
        self._model = CrossEncoder(
            options.model_folder, device=options.device, model_kwargs={"dtype": self.dtype}
        )

    def logits(self, query: str, documents: Sequence[str]) -> list[float]:
        # Logits as they are: a sigmoid would hide differences where it saturates.
        scores = self._model.predict(
            [(query, document) for document in documents],
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        )
        return [float(score) for score in scores]

    def tune(self, query: str, documents: Sequence[str]) -> None:
        """Default settings are the point of this row."""

    def settings(self) -> dict[str, Any]:
        return {
            "version": sentence_transformers.__version__,
            "torch": torch.__version__,
            "batch_size": 32,
        }


class CrossEncoderHalf(CrossEncoderEngine):
    """The same in fp16, as one would run it on a GPU."""

    dtype = torch.float16
    precision = "fp16"
