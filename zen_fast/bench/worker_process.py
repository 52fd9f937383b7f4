"""The parent's side of a worker: start it, ask it, notice its death."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from types import TracebackType
from typing import IO, Any

from zen_fast.bench.engines import EngineOptions, EngineRow
from zen_fast.errors import ZenError

_STDERR_TAIL = 1500
_FAREWELL_SECONDS = 5.0
"""An idle engine may take so long to tidy up after itself: adapters own temporary folders."""


class EngineFailedError(ZenError):
    """An engine raised, or its process died."""


class WorkerProcess:
    """One process that holds one engine; use as a context manager."""

    def __init__(self, name: str, num_threads: int) -> None:
        self.name = name
        self.started = time.perf_counter()
        self._idle = True
        self._stderr: IO[str] = tempfile.TemporaryFile(  # noqa: SIM115  (closed in close)
            "w+", encoding="utf-8", errors="replace"
        )
        threads = str(num_threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "zen_fast.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            encoding="utf-8",
            # The model is a local folder by now: no engine has a reason to ask the hub.
            env=os.environ
            | {"OMP_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"},
            # Ctrl-C reaches the parent alone, which then ends its workers.
            start_new_session=True,
        )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def load(self, row: EngineRow, options: EngineOptions) -> tuple[float, str]:
        """Import the engine and load the model; seconds, and the precision it computes in."""
        answer = self._ask("load", adapter=row.adapter, options=asdict(options))
        return float(answer["seconds"]), str(answer["precision"])

    def tune(self, query: str, documents: Sequence[str]) -> None:
        self._ask("tune", query=query, documents=documents)

    def logits(self, query: str, documents: Sequence[str]) -> tuple[list[float], float]:
        """One logit per document, and the seconds they took inside the worker.

        Raises:
            EngineFailedError: the engine raised, died, or answered with another number of logits.
        """
        answer = self._ask("logits", query=query, documents=documents)
        logits: list[float] = answer["logits"]
        if len(logits) != len(documents):
            raise EngineFailedError(
                f"{self.name} gave {len(logits)} logits for {len(documents)} documents"
            )
        return logits, float(answer["seconds"])

    def describe(self) -> dict[str, Any]:
        """`settings` and `peak_rss_bytes`."""
        return self._ask("describe")

    def ceilings_gflops(self, num_threads: int, device: str) -> dict[str, float]:
        """Precision → what the machine's matrix products give at the moment."""
        answer = self._ask("ceilings", num_threads=num_threads, device=device)
        ceilings: dict[str, float] = answer["gflops"]
        return ceilings

    def close(self) -> None:
        """End the process: by the end of its input where it is idle, else whatever it is doing."""
        if self._idle and self._process.stdin is not None:
            _close_quietly(self._process.stdin)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_FAREWELL_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                _close_quietly(pipe)

    def _ask(self, command: str, **arguments: object) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("the worker was started with pipes")
        self._idle = False
        try:
            self._process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise EngineFailedError(
                f"the process of {self.name} died in `{command}` "
                f"(exit status {self._process.wait()}); its last words:\n{self._last_words()}"
            )
        self._idle = True
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise EngineFailedError(f"{self.name} failed in `{command}`: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()[-_STDERR_TAIL:].strip() or "(none)"


def _close_quietly(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # what was still buffered for a dead process is of no use
