"""The measurement: start every engine, gate it, then let the engines answer in turn.

Only one process computes at a time. Engines answer each request one after the other, in an order
that rotates, so that a drift of the machine's speed falls on all of them alike. On a CPU each turn
begins on idle cores: some thread pools keep theirs busy for a while after their work.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

from rich.progress import Progress

from zen_fast.bench.engines import EngineOptions, EngineRow
from zen_fast.bench.gate import refusal, require_tolerance
from zen_fast.bench.worker_process import EngineFailedError, WorkerProcess
from zen_fast.bench.workloads import Workload
from zen_fast.candidates import Request

_MIN_TURNS = 3
_CEILING_SAMPLES = 4
"""Samples of the ceilings spread over the timed turns, besides those before and after them."""

_SETTLE_SECONDS = 0.3
"""Before a turn on a CPU. Intel's OpenMP, the slowest to calm down, spins for 0.2 s after its last
loop; whoever began meanwhile would share the cores with it."""


@dataclass
class EngineMeasurement:
    """All that was observed of one engine."""

    row: EngineRow
    load_seconds: float
    """Import of the engine and loading of the model."""
    cold_start_seconds: float
    """From the start of the process to the score of one first pair."""
    refusal: str | None = None
    """Why the gate refused it; a refused engine is not reported as timed."""
    settings: dict[str, Any] = field(default_factory=dict)
    seconds_by_op: dict[str, float] = field(default_factory=dict)
    """Where the engine's time went, the first turn included; empty where it does not tell."""
    peak_rss_bytes: int = 0
    latencies_seconds: list[float] = field(default_factory=list)
    """One for each timed request."""
    logits: list[list[float]] = field(default_factory=list)
    """For each timed request, one for each of its documents."""


@dataclass(frozen=True)
class Measurement:
    """A whole run; `requests` are those that were timed."""

    requests: tuple[Request, ...]
    engines: tuple[EngineMeasurement, ...]
    """The reference first."""
    ceilings_gflops: dict[str, list[float]]
    """Precision → samples over the run."""


@dataclass(frozen=True)
class Limits:
    """How much to measure."""

    deadline: float
    """time.perf_counter() at which the timed turns should have ended."""
    num_requests: int | None
    """Exactly so many timed requests, whatever the deadline says."""


def measure(
    workload: Workload,
    rows: Sequence[EngineRow],
    options: EngineOptions,
    tolerances: Mapping[str, float],
    limits: Limits,
    progress: Progress,
) -> Measurement:
    """Measure every row on the workload, the reference first; `tolerances` are the gate's.

    The first turn's requests warm up and gate, untimed; what is timed is gated once more.

    Raises:
        EngineFailedError: an engine raised or its process died, or the reference gives NaN.
    """
    with ExitStack() as stack:
        ceilings = _Ceilings(
            stack.enter_context(WorkerProcess("ceilings", options.num_threads)), options
        )
        runners: list[_Runner] = []
        for row in progress.track(rows, description="start engines"):
            runners.append(_Runner(row, options, tolerances, workload.requests[0], stack))
        ceilings.sample()
        warm_up = workload.requests[: workload.requests_per_turn]
        turn_seconds = _warm_up_and_gate(runners, warm_up, progress)
        if runners[0].measurement.refusal is not None:
            raise EngineFailedError(
                f"{runners[0].measurement.row.name} gives logits that are not finite: there is "
                "nothing to hold the other engines to"
            )
        accepted = [runner for runner in runners if runner.measurement.refusal is None]
        settle_seconds = _SETTLE_SECONDS if options.device == "cpu" else 0.0
        turn_seconds += settle_seconds * len(accepted)
        turns = _plan(workload, limits, turn_seconds)
        timed = tuple(_time_turns(accepted, turns, limits, settle_seconds, ceilings, progress))
        for runner in accepted:
            runner.gate(runner.measurement.logits, accepted[0].measurement.logits)
        for runner in runners:
            runner.describe()
        return Measurement(
            timed,
            tuple(runner.measurement for runner in runners),
            ceilings.samples,
        )


class _Ceilings:
    """The speed of the machine's matrix products, sampled now and then in a process of its own."""

    def __init__(self, worker: WorkerProcess, options: EngineOptions) -> None:
        self._worker = worker
        self._options = options
        self.samples: dict[str, list[float]] = {}
        self.sample()

    def sample(self) -> None:
        options = self._options
        time.sleep(_SETTLE_SECONDS)
        sample = self._worker.ceilings_gflops(options.num_threads, options.device)
        for precision, gflops in sample.items():
            self.samples.setdefault(precision, []).append(gflops)


class _Runner:
    """An engine's process together with what has been observed of it."""

    def __init__(
        self,
        row: EngineRow,
        options: EngineOptions,
        tolerances: Mapping[str, float],
        first: Request,
        stack: ExitStack,
    ) -> None:
        self._tolerances = tolerances
        self._worker = stack.enter_context(WorkerProcess(row.name, options.num_threads))
        load_seconds, precision = self._worker.load(row, replace(options, precision=row.precision))
        require_tolerance(precision, row.name)
        self._worker.logits(first.query, first.documents[:1])
        cold_start_seconds = time.perf_counter() - self._worker.started
        self.measurement = EngineMeasurement(
            replace(row, precision=precision), load_seconds, cold_start_seconds
        )

    def warm_up(self, requests: Sequence[Request]) -> tuple[list[list[float]], float]:
        """Tune, then answer; logits and seconds."""
        self._worker.tune(requests[0].query, requests[0].documents)
        logits, seconds = zip(*map(self._answer, requests), strict=True)
        return list(logits), sum(seconds)

    def time(self, request: Request) -> None:
        logits, seconds = self._answer(request)
        self.measurement.latencies_seconds.append(seconds)
        self.measurement.logits.append(logits)

    def gate(self, logits: list[list[float]], reference: list[list[float]]) -> None:
        row = self.measurement.row
        self.measurement.refusal = refusal(logits, reference, self._tolerances[row.precision])

    def describe(self) -> None:
        described = self._worker.describe()
        self.measurement.settings = described["settings"]
        self.measurement.seconds_by_op = described["seconds_by_op"]
        self.measurement.peak_rss_bytes = described["peak_rss_bytes"]

    def _answer(self, request: Request) -> tuple[list[float], float]:
        return self._worker.logits(request.query, request.documents)


def _warm_up_and_gate(
    runners: Sequence[_Runner], requests: Sequence[Request], progress: Progress
) -> float:
    """Refuse the runners whose logits are wrong; seconds that a turn of the others takes."""
    turn_seconds = 0.0
    reference: list[list[float]] = []
    for runner in progress.track(runners, description="warm up and check logits"):
        logits, seconds = runner.warm_up(requests)
        reference = reference or logits
        runner.gate(logits, reference)
        if runner.measurement.refusal is None:
            turn_seconds += seconds
    return turn_seconds


def _plan(workload: Workload, limits: Limits, turn_seconds: float) -> list[tuple[Request, ...]]:
    """The timed turns: as many as were asked for, or as the time allows."""
    size = workload.requests_per_turn
    requests = workload.requests[size:]
    turns = [requests[start : start + size] for start in range(0, len(requests), size)]
    if limits.num_requests is not None:
        return turns
    seconds = limits.deadline - time.perf_counter()
    return turns[: max(_MIN_TURNS, math.floor(seconds / max(turn_seconds, 1e-9)))]


def _time_turns(
    runners: Sequence[_Runner],
    turns: Sequence[tuple[Request, ...]],
    limits: Limits,
    settle_seconds: float,
    ceilings: _Ceilings,
    progress: Progress,
) -> Iterator[Request]:
    """Time the turns and yield the requests that were answered by every runner."""
    sample_every = max(1, len(turns) // _CEILING_SAMPLES)
    for turn, requests in enumerate(progress.track(turns, description="measure")):
        late = limits.num_requests is None and time.perf_counter() > limits.deadline
        if late and turn >= _MIN_TURNS:
            break
        first = turn % len(runners)
        for runner in (*runners[first:], *runners[:first]):
            time.sleep(settle_seconds)
            for request in requests:
                runner.time(request)
        yield from requests
        if (turn + 1) % sample_every == 0:
            ceilings.sample()
