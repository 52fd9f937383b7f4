"""One phase that measures, in a process of its own: `python -m benchmarks.gpu_gate.child NAME`.

A process of its own, because a kernel that faults takes its process's GPU with it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu_gate.context import FULL, REHEARSAL, Context


def _build(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.package import build_extension

    build_extension(context.work / "site", context.work / "cmake")


def _inputs(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.inputs import write_inputs

    write_inputs(context)


def _machine(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.machine import record_machine

    record_machine(context)


def _cpu_bench(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.cpu import measure_cpu

    measure_cpu(context)


def _ceilings(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.ceilings import measure_ceilings

    measure_ceilings(context)


def _operators(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.operators import measure_operators

    measure_operators(context)


def _models(context: Context, shape: str) -> None:
    from benchmarks.gpu_gate.models import measure_models

    measure_models(context, shape)


def _warm_up(context: Context, shape: str) -> None:
    from benchmarks.gpu_gate.models import warm_up

    warm_up(context, shape)


def _compiled(context: Context, _: str) -> None:
    from benchmarks.gpu_gate.models import measure_compiled

    measure_compiled(context)


def _plot(context: Context, path: str) -> None:
    from benchmarks.gpu_gate.plot import write_plot

    write_plot(Path(path))


JOBS: dict[str, Callable[[Context, str], None]] = {
    "build": _build,
    "inputs": _inputs,
    "machine": _machine,
    "cpu-bench": _cpu_bench,
    "ceilings": _ceilings,
    "operators": _operators,
    "models": _models,
    "warm-up": _warm_up,
    "compiled": _compiled,
    "plot": _plot,
}
"""Name on the command line → what it does with its subject."""

MAY_BE_LATE = ("warm-up",)
"""What they leave undone others do."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_gate.child")
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("subject", nargs="?", default="")
    parser.add_argument("--phase", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rehearsal", action="store_true")
    options = parser.parse_args()
    records = options.work / "records" / f"{options.phase}.jsonl"
    context = Context(
        options.work,
        REHEARSAL if options.rehearsal else FULL,
        time.perf_counter() + options.seconds,
        records,
    )
    JOBS[options.job](context, options.subject)
    if context.is_late and options.job not in MAY_BE_LATE:
        sys.exit("its time was up before all was measured")


if __name__ == "__main__":
    main()
