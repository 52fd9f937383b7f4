"""One engine in a process of its own, asked in JSON lines: `python -m zen_fast.bench.worker`.

Imports nothing heavy before it is asked to, so that load time, cold start and memory are those of
the engine.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from zen_fast.bench.engines import Engine, EngineOptions, load_engine

Answer = dict[str, Any]


class Worker:
    """Answers the requests of zen_fast.bench.worker_process: its methods are the commands."""

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._peak_rss_bytes = 0
        """Before tuning, which is no part of the engine's ordinary use."""

    def load(self, adapter: str, options: dict[str, Any]) -> Answer:
        start = time.perf_counter()
        self._engine = load_engine(adapter, EngineOptions(**options))
        seconds = time.perf_counter() - start
        precision = getattr(self._engine, "precision", options["precision"])
        return {"seconds": seconds, "precision": precision}

    def tune(self, query: str, documents: list[str]) -> Answer:
        self._peak_rss_bytes = peak_rss_bytes()
        self.engine.tune(query, documents)
        reset_peak_rss()
        return {}

    def logits(self, query: str, documents: list[str]) -> Answer:
        start = time.perf_counter()
        logits = self.engine.logits(query, documents)
        return {"seconds": time.perf_counter() - start, "logits": logits}

    def describe(self) -> Answer:
        return {
            "settings": self.engine.settings(),
            "seconds_by_op": getattr(self.engine, "seconds_by_op", dict)(),
            "peak_rss_bytes": max(self._peak_rss_bytes, peak_rss_bytes()),
        }

    def ceilings(self, num_threads: int, device: str) -> Answer:
        from zen_fast.bench.ceilings import ceilings_gflops

        return {"gflops": ceilings_gflops(num_threads, device)}

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise AssertionError("asked before `load`")
        return self._engine


def peak_rss_bytes() -> int:
    """Peak resident memory of this process since its own program began.

    Linux counts the parent's peak into getrusage of a child, across fork and exec; VmHWM begins
    anew with the program, so it is preferred where it exists.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def reset_peak_rss() -> None:
    """Let the peak begin anew at what is resident now; only Linux can, others keep the old."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer each request line with one line, until the input ends."""
    worker = Worker()
    for line in requests:
        request = json.loads(line)
        command: Callable[..., Answer] = getattr(worker, request.pop("command"))
        try:
            answer = command(**request)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    # Libraries print to standard output as they please; the answers keep the pipe to themselves.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
