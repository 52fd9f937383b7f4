"""Several engines of one model behind the interface of one: whole queries spread over them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from zen_fast.backends import Backend
from zen_fast.encoded import PairScores
from zen_fast.engine import Engine
from zen_fast.progress import ProgressBar
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer, PromptTokenizer


class EngineGroup:
    """One engine for each GPU; safe under threads, whose calls spread over the GPUs too.

    A query and its documents stay together on one GPU: its pairs are batched with each other, and
    what is cached for it is in one place.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = list(engines)
        self._lock = threading.Lock()
        self._pairs_in_flight = [0] * len(self._engines)

    @property
    def backend(self) -> Backend:
        """The first engine's; they are of one kind."""
        return self._engines[0].backend

    @property
    def spec(self) -> EncoderSpec:
        return self._engines[0].spec

    @property
    def can_pause(self) -> bool:
        """As `Engine.can_pause`."""
        return self._engines[0].can_pause

    @property
    def tokenizer(self) -> PairTokenizer | PromptTokenizer:
        return self._engines[0].tokenizer

    def logits(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        show_progress: bool | None = None,
        instruction: str | None = None,
    ) -> NDArray[np.float32]:
        """Logits of each pair, as `Engine.logits`; equal queries next to each other are one."""
        return self.scores(queries, documents, show_progress, instruction).logits

    def scores(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        show_progress: bool | None = None,
        instruction: str | None = None,
    ) -> PairScores:
        """As `Engine.scores`; equal queries next to each other are one."""
        has_windows = self._engines[0].has_windows
        scores = PairScores.empty(len(queries), self.spec.head.num_labels, has_windows)
        parts = self._claim(_runs(queries))
        with ProgressBar(len(queries), show_progress) as progress:

            def score(engine_index: int) -> None:
                chosen = parts[engine_index]
                try:
                    part = self._engines[engine_index].scores(
                        [queries[index] for index in chosen],
                        [documents[index] for index in chosen],
                        show_progress=False,
                        instruction=instruction,
                    )
                    scores.put(chosen, part)
                finally:
                    self._release(engine_index, len(chosen))
                with self._lock:
                    progress.advance(len(chosen))

            busy = [index for index, part in enumerate(parts) if part]
            if len(busy) == 1:
                score(busy[0])
            elif busy:
                with ThreadPoolExecutor(len(busy)) as pool:
                    for each in [pool.submit(score, index) for index in busy]:
                        each.result()
        return scores

    @contextmanager
    def one(self, num_pairs: int) -> Iterator[Engine]:
        """The engine that has the least to do, with `num_pairs` counted as its work meanwhile."""
        (engine_index,) = (i for i, part in enumerate(self._claim([range(num_pairs)])) if part)
        try:
            yield self._engines[engine_index]
        finally:
            self._release(engine_index, num_pairs)

    def seconds_by_op(self) -> dict[str, float]:
        """As `Engine.seconds_by_op`, summed over the engines."""
        total: dict[str, float] = {}
        for engine in self._engines:
            for name, seconds in engine.seconds_by_op().items():
                total[name] = total.get(name, 0.0) + seconds
        return total

    def _claim(self, runs: Sequence[range]) -> list[list[int]]:
        """Pairs for each engine: the longest list first, to whoever has the least to do."""
        parts: list[list[int]] = [[] for _ in self._engines]
        with self._lock:
            for run in sorted(runs, key=len, reverse=True):
                engine_index = int(np.argmin(self._pairs_in_flight))
                parts[engine_index].extend(run)
                self._pairs_in_flight[engine_index] += len(run)
        return [sorted(part) for part in parts]

    def _release(self, engine_index: int, num_pairs: int) -> None:
        with self._lock:
            self._pairs_in_flight[engine_index] -= num_pairs


def _runs(queries: Sequence[str]) -> list[range]:
    """Positions of equal neighbours."""
    runs, start = [], 0
    for _, group in groupby(queries):
        length = sum(1 for _ in group)
        runs.append(range(start, start + length))
        start += length
    return runs
