"""Streams: all threads on one batch after the other, or each thread on a batch of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from zen_fast.bench.engines import EngineOptions
from zen_fast.bench.engines.padded_batches import PaddedEngine
from zen_fast.errors import UnsupportedDeviceError


class StreamedEngine(PaddedEngine):
    """Runs `num_streams` batches at a time; their number is tuned together with the batch size.

    `forward` is called from as many threads at once as there are streams. A constructor converts
    the model and then calls `start`.
    """

    def __init__(self, options: EngineOptions) -> None:
        if options.device != "cpu":
            raise UnsupportedDeviceError(f"{type(self).__name__} runs on cpu, not {options.device}")
        super().__init__(options)
        self._num_threads = options.num_threads
        self._num_streams = 1
        self._pool = ThreadPoolExecutor(options.num_threads)

    @abstractmethod
    def load(self, num_streams: int, threads_per_stream: int) -> None:
        """Load the model, in place of one loaded before."""

    def run_batches(
        self,
        forward: Callable[[list[int]], npt.NDArray[np.float32]],
        batches: Sequence[list[int]],
    ) -> Iterable[npt.NDArray[np.float32]]:
        if self._num_streams == 1:
            return map(forward, batches)
        return self._pool.map(forward, batches)

    def tune(self, query: str, documents: Sequence[str]) -> None:
        found = []
        for num_streams in sorted({1, self._num_threads}):
            self.start(num_streams)
            seconds = self.tune_batch_size(query, documents)
            found.append((seconds, num_streams, self.batch_size))
        _, num_streams, batch_size = min(found)
        if num_streams != self._num_streams:
            self.start(num_streams)
        self.batch_size = batch_size

    def stream_settings(self) -> dict[str, int]:
        """What was chosen, for `settings`."""
        return {"batch_size": self.batch_size, "num_streams": self._num_streams}

    def start(self, num_streams: int) -> None:
        """Load the model anew for so many batches at a time: 1, or as many as there are threads."""
        self.load(num_streams, max(1, self._num_threads // num_streams))
        self._num_streams = num_streams
