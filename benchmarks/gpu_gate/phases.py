"""The gate's phases: commands with budgets, run beside or after each other, and how each ended."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_gate.context import ROOT, Scale
from zen_fast.bench.random_model import SHAPES

TOTAL_SECONDS = 480.0

_GRACE_SECONDS = 4.0
"""Before its limit a phase is told that its time is up; at the limit it is killed."""
_POLL_SECONDS = 0.1
_TAIL = 2000

_MODEL_SECONDS = {"minilm-l6": 34, "minilm-l12": 36, "base": 50, "large": 77}
"""Most of it goes into reading, rounding and uploading weights, once for each precision."""

CPU_TESTS = ("tests/test_cpu.py", "tests/test_parity.py", "tests/test_quantization.py")


@dataclass(frozen=True)
class Phase:
    """One command."""

    name: str
    arguments: tuple[str, ...]
    """Of the Python interpreter."""
    budget_seconds: float
    is_child: bool = True
    """Whether it is one of benchmarks.gpu_gate.child, which is told its time and its folders."""


@dataclass(frozen=True)
class Ending:
    """How a phase ended."""

    phase: str
    status: str
    """passed, failed, timed out, or not reached"""
    seconds: float
    last_words: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"


def plan(scale: Scale, rehearsal: bool) -> list[list[Phase]]:
    """Stages one after the other; a stage's phases run beside each other.

    What compiles runs beside what else compiles; what is timed runs alone.
    """
    # Kernels are compiled for widths, not for numbers of layers.
    one_of_each_width = {SHAPES[shape]["hidden_size"]: shape for shape in reversed(scale.shapes)}
    stages = [
        [_child("build", 30), _child("inputs", 30), _child("machine", 30)],
        [
            _tests("kernel-tests", ["tests/test_kernels.py"], rehearsal, 145, workers=3),
            _tests("encoder-tests", ["tests/test_triton.py"], rehearsal, 145, workers=12),
            _tests("cpu-tests", CPU_TESTS, rehearsal, 105, workers=3),
            *(_child("warm-up", 105, shape) for shape in one_of_each_width.values()),
        ],
        [_child("cpu-bench", 28)],
        [_child("ceilings", 10)],
        [_child("operators", 25)],
        *([_child("models", _MODEL_SECONDS.get(shape, 35), shape)] for shape in scale.shapes),
        [_child("compiled", 30)],
    ]
    if rehearsal:  # an interpreter knows no time; torch.compile would take a minute
        return [
            [Phase(each.name, each.arguments, 600, each.is_child) for each in stage]
            for stage in stages[:-1]
        ]
    return stages


class Runner:
    """Runs stages in an environment where zen_fast is that of `site`."""

    def __init__(self, site: Path, work: Path, rehearsal: bool, total_seconds: float) -> None:
        self._work = work
        self._rehearsal = rehearsal
        self._deadline = time.monotonic() + total_seconds
        self._environment = os.environ | {
            "PYTHONPATH": str(site),
            # cmake may have come with pip, to this interpreter's side.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
            "PYTHONSAFEPATH": "1",  # the checkout's own zen_fast, unbuilt, must not come first
            "HF_HUB_OFFLINE": "1",
            "TRITON_CACHE_DIR": str(work / "triton"),
        }
        if rehearsal:
            self._environment |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}

    def run(self, stage: Sequence[Phase]) -> list[Ending]:
        """Run the phases of a stage beside each other, each within its budget."""
        if time.monotonic() + _GRACE_SECONDS >= self._deadline:
            return [Ending(phase.name, "not reached", 0.0) for phase in stage]
        running = [_Running(phase, self._limit(phase), self._start) for phase in stage]
        endings: dict[str, Ending] = {}
        while len(endings) < len(running):
            for each in running:
                ending = None if each.phase.name in endings else each.poll()
                if ending is not None:
                    endings[each.phase.name] = ending
            time.sleep(_POLL_SECONDS)
        return [endings[phase.name] for phase in stage]

    def _limit(self, phase: Phase) -> float:
        return min(phase.budget_seconds, self._deadline - time.monotonic())

    def _start(self, phase: Phase, limit_seconds: float, log: Path) -> subprocess.Popen[bytes]:
        arguments = list(phase.arguments)
        if phase.is_child:
            arguments += ["--phase", phase.name, "--work", str(self._work)]
            arguments += ["--seconds", str(limit_seconds - _GRACE_SECONDS)]
            arguments += ["--rehearsal"] if self._rehearsal else []
        with (self._work / "logs" / log).open("wb") as output:
            return subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # what it starts must end with it
            )

    def log(self, phase: str) -> str:
        """All that a phase printed."""
        path = self._work / "logs" / f"{phase}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


class _Running:
    """A phase under way."""

    def __init__(self, phase: Phase, limit_seconds: float, start: Any) -> None:
        self.phase = phase
        self._started = time.monotonic()
        self._limit_seconds = limit_seconds
        self._log = Path(f"{phase.name}.log")
        self._process: subprocess.Popen[bytes] = start(phase, limit_seconds, self._log)

    def poll(self) -> Ending | None:
        """Its ending, once it has ended or its limit has passed."""
        seconds = time.monotonic() - self._started
        status = self._process.poll()
        if status is not None:
            return Ending(
                self.phase.name,
                "passed" if status == 0 else "failed",
                seconds,
                "" if status == 0 else f"exit status {status}",
            )
        if seconds <= self._limit_seconds:
            return None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        return Ending(self.phase.name, "timed out", seconds)


def last_words(log: str) -> str:
    """The end of what a phase printed."""
    return log[-_TAIL:].strip()


def _child(job: str, budget_seconds: float, subject: str = "") -> Phase:
    name = f"{job}-{subject}" if subject else job
    module = ("-m", "benchmarks.gpu_gate.child", job)
    return Phase(name, (*module, *((subject,) if subject else ())), budget_seconds)


def _tests(
    name: str, paths: Sequence[str], rehearsal: bool, budget_seconds: float, workers: int
) -> Phase:
    # By name, so that the log of a phase that is killed says what passed.
    arguments = ["-m", "pytest", "-v", "-p", "no:cacheprovider", *paths]
    if rehearsal:
        arguments += ["-k", "lay_out or test_pool or quantize_matrix"]
    elif importlib.util.find_spec("xdist") is not None:
        arguments += ["-n", str(workers)]  # what takes the time is compiling kernels
    return Phase(name, tuple(arguments), budget_seconds, is_child=False)
