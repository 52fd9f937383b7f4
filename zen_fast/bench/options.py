"""The command line of `zen-fast bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_fast.bench.engines import ENGINES
from zen_fast.bench.gate import PRECISIONS
from zen_fast.bench.random_model import SHAPES
from zen_fast.bench.workloads import WORKLOADS
from zen_fast.processors import usable_cores

_SECONDS, _QUICK_SECONDS = 165.0, 26.0
_CANDIDATES, _QUICK_CANDIDATES = 100, 10
_CPU_PRECISIONS, _GPU_PRECISIONS = ("fp32", "int8"), ("fp32",)


@dataclass(frozen=True)
class BenchOptions:
    """The command line, with its defaults filled in."""

    model: str
    data: Path | None
    split: str
    workload: str
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    device: str
    num_threads: int
    num_queries: int | None
    """None for as many as `seconds` allow."""
    num_candidates: int
    seconds: float
    seed: int
    json_path: Path | None
    plot_path: Path | None
    profile: bool


def parse_options(arguments: Sequence[str]) -> BenchOptions:
    """Read the command line; exits with status 2 and a usage message where it is wrong."""
    parsed = _parser().parse_args(arguments)
    return BenchOptions(
        model=parsed.model,
        data=parsed.data,
        split=parsed.split,
        workload=parsed.workload,
        engines=tuple(parsed.engines),
        precisions=_precisions(parsed),
        device=parsed.device,
        num_threads=parsed.threads,
        num_queries=parsed.queries,
        num_candidates=parsed.candidates or (_QUICK_CANDIDATES if parsed.quick else _CANDIDATES),
        seconds=parsed.seconds or (_QUICK_SECONDS if parsed.quick else _SECONDS),
        seed=parsed.seed,
        json_path=parsed.json,
        plot_path=parsed.plot,
        profile=parsed.profile,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zen-fast bench",
        description="Latency, throughput, memory and quality of zen_fast beside stock engines: "
        "same model, same inputs, same threads, same run. Without options: the embedded zen-mini "
        "on the standard library's documentation, 100 BM25 candidates per query, in 3 minutes.",
        epilog="Exit status: 0 measured; 1 an engine was refused or failed; 2 wrong usage; "
        "130 interrupted; 141 the reader of the output went away.",
    )
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--model",
        default="zen-mini",
        help=f"embedded model, folder, hub id, or random weights of a shape: {', '.join(SHAPES)}",
    )
    what.add_argument(
        "--engines",
        type=_names,
        default=list(ENGINES),
        metavar="A,B",
        help=f"of {', '.join(ENGINES)}, or module:Class of an adapter (default: all; "
        "transformers is the reference and always takes part)",
    )
    what.add_argument(
        "--precision",
        type=_names,
        metavar="P,Q",
        help=f"precisions of zen, a row each, of {', '.join(PRECISIONS)} (default: "
        f"{','.join(_CPU_PRECISIONS)}; on a GPU {','.join(_GPU_PRECISIONS)})",
    )
    what.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    what.add_argument(
        "--threads",
        type=_positive,
        default=usable_cores(),
        metavar="N",
        help="threads of every engine (default: the cores this process may use)",
    )
    on_what = parser.add_argument_group("on which inputs")
    on_what.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="collection in BEIR layout (default: the standard library's documentation)",
    )
    on_what.add_argument("--split", default="test", help="judgements to read (default: test)")
    on_what.add_argument(
        "--workload",
        choices=WORKLOADS,
        default="ranking",
        help="ranking: queries with BM25 candidates; short, long: lists of documents of about 75 "
        "and 225 tokens cut from the collection; pair: one such document (default: ranking)",
    )
    on_what.add_argument(
        "--candidates", type=_positive, metavar="N", help="documents per query (default: 100)"
    )
    on_what.add_argument(
        "--queries", type=_positive, metavar="N", help="timed queries (default: as time allows)"
    )
    on_what.add_argument(
        "--seconds", type=float, metavar="S", help="time for the run (default: 165; quick: 26)"
    )
    on_what.add_argument(
        "--quick", action="store_true", help="a look in half a minute, with 10 candidates"
    )
    on_what.add_argument("--seed", type=int, default=0, help="of every random choice (default: 0)")
    on_what.add_argument(
        "--skip-work",
        action="store_true",
        help="instead, what each way of not scoring saves and costs; has options of its own: "
        "--skip-work --help",
    )
    results = parser.add_argument_group("results")
    results.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    results.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="plot latency against quality"
    )
    results.add_argument(
        "--profile", action="store_true", help="print each zen row's share of time by op"
    )
    return parser


def _precisions(parsed: argparse.Namespace) -> tuple[str, ...]:
    if parsed.precision is not None:
        return tuple(parsed.precision)
    return _CPU_PRECISIONS if parsed.device == "cpu" else _GPU_PRECISIONS


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("expected names with commas between them")
    return names


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value
