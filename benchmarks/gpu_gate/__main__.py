"""`python -m benchmarks.gpu_gate --out DIR`: the phases in turn, then the report."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.gpu_gate.context import FULL, REHEARSAL, ROOT
from benchmarks.gpu_gate.package import lay_out_package
from benchmarks.gpu_gate.phases import TOTAL_SECONDS, Ending, Phase, Runner, last_words, plan
from benchmarks.gpu_gate.report import make_report, print_report, write_report
from zen_fast.command_line import run_command
from zen_fast.errors import (
    InvalidArgumentError,
    MissingDependencyError,
    UnsupportedDeviceError,
)
from zen_fast.extras import install

PHASE_FAILED = 1
PLOT = Phase("plot", ("-m", "benchmarks.gpu_gate.child", "plot"), 15)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate and return its exit status: 0 only where every phase passed."""
    options = _parser().parse_args(argv)
    return run_command(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    scale = REHEARSAL if options.dry_run else FULL
    stages = plan(scale, options.dry_run)
    names = [phase.name for stage in stages for phase in stage]
    if unknown := set(options.skip) - set(names):
        raise InvalidArgumentError(
            f"--skip {', '.join(sorted(unknown))}: the phases are {', '.join(names)}"
        )
    if not options.dry_run:
        _require_gpu()
    work, out = options.work.resolve(), options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for folder in ("records", "logs"):
        shutil.rmtree(work / folder, ignore_errors=True)
        (work / folder).mkdir(parents=True)
    lay_out_package(work / "site")
    runner = Runner(work / "site", work, options.dry_run, options.seconds)

    endings: list[Ending] = []
    for stage in stages:
        chosen = [phase for phase in stage if phase.name not in options.skip]
        endings += _run_stage(runner, chosen)
        # After every stage: whoever ends this program early keeps what is known.
        write_report(make_report(scale, endings, work, options.dry_run), out)
    picture = out / "gpu_gate.png"
    plot = replace(PLOT, arguments=(*PLOT.arguments, str(picture)))
    endings += _run_stage(runner, [plot])
    report = make_report(scale, endings, work, options.dry_run)
    write_report(report, out)
    log = "\n".join(f"=== {each.phase}\n{runner.log(each.phase)}" for each in endings)
    (out / "gpu_gate.log").write_text(log, encoding="utf-8")
    print_report(report)
    return 0 if all(ending.passed for ending in endings) else PHASE_FAILED


def _run_stage(runner: Runner, stage: Sequence[Phase]) -> list[Ending]:
    endings = []
    for ending in runner.run(stage):
        if not ending.passed:
            said = "\n".join((ending.last_words, last_words(runner.log(ending.phase)))).strip()
            ending = replace(ending, last_words=said)
        endings.append(ending)
        print(f"{ending.phase}: {ending.status} in {ending.seconds:.0f} s", flush=True)
    return endings


def _require_gpu() -> None:
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("triton") is None:
        raise MissingDependencyError(f"the gate needs torch and triton: {install('gpu')}")
    import torch

    if torch.cuda.device_count() == 0:
        raise UnsupportedDeviceError(
            "the gate measures a GPU and PyTorch finds none here; run it on a machine that has "
            "one, or pass --dry-run to try its phases under Triton's interpreter"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_gate",
        description="Build zen_fast in place, run its tests on this machine's GPU and CPU, measure "
        "kernels and models beside PyTorch's, and write a report. At most eight minutes.",
        epilog="Writes gpu_gate.json, gpu_gate.png, gpu_gate.log and linear_choices.json. Exit "
        "status: 0 every phase passed; 1 a phase failed or ran out of time; 2 wrong usage or no "
        "GPU.",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the report")
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "gpu_gate",
        metavar="DIR",
        help="for builds, models and caches (default: build/gpu_gate of the checkout)",
    )
    parser.add_argument(
        "--seconds", type=float, default=TOTAL_SECONDS, help="for everything (default: 480)"
    )
    parser.add_argument(
        "--skip",
        type=lambda text: text.split(","),
        default=[],
        metavar="A,B",
        help="phases to leave out, as `build` where an earlier run has built",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="the same phases at toy sizes under Triton's interpreter; needs no GPU",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
