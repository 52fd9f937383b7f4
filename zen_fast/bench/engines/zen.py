"""zen_fast itself, through its public interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import zen_fast
from zen_fast.bench.engines import EngineOptions


class ZenEngine:
    """`ZenReranker.score` with the token cache off: every text is tokenized, as elsewhere."""

    def __init__(self, options: EngineOptions) -> None:
        self._reranker = zen_fast.ZenReranker.from_pretrained(
            options.model_folder,
            device=options.device,
            precision=options.precision,
            num_threads=options.num_threads if options.device == "cpu" else None,
            activation="identity",
            token_cache_mb=0,
        )

    def logits(self, query: str, documents: Sequence[str]) -> list[float]:
        return [float(each) for each in self._reranker.score(query, documents)]

    def tune(self, query: str, documents: Sequence[str]) -> None:
        """There is nothing to choose."""

    def seconds_by_op(self) -> dict[str, float]:
        """Where the time went, for the report's profile."""
        return self._reranker.seconds_by_op()

    def settings(self) -> dict[str, Any]:
        return {"version": zen_fast.__version__, "backend": self._reranker.backend}
