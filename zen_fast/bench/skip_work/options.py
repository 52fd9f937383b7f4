"""The command line of `zen-fast bench --skip-work`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zen_fast.processors import usable_cores

_DESCRIPTION = """\
Time and quality of each way of not scoring: the score cache, early stopping, deadlines, and
windows of long documents, beside scoring every candidate whole, on the same queries, in turn.
"""
_EPILOG = """\
examples:
  zen-fast bench --skip-work
  zen-fast bench --skip-work --data data/cranfield data/squad:dev --plot curve.png
"""

KINDS = ("cache", "early_stop", "deadline", "long")


@dataclass(frozen=True)
class SkipWorkOptions:
    """The command line."""

    model: str
    data: tuple[str, ...]
    """FOLDER[:SPLIT] each; none for the standard library's documentation."""
    precision: str
    num_threads: int
    num_queries: int
    num_candidates: int
    k: int
    kinds: tuple[str, ...]
    """Of KINDS: which features are compared with scoring every candidate."""
    shares: tuple[float, ...]
    deadlines_ms: tuple[float, ...]
    short_length: int
    windows: int
    calibration: Path | None
    seed: int
    json_path: Path | None
    plot_path: Path | None


def parse_options(arguments: Sequence[str]) -> SkipWorkOptions:
    """Read the command line; exits with status 2 and a usage message where it is wrong."""
    parsed = _parser().parse_args(arguments)
    return SkipWorkOptions(
        model=parsed.model,
        data=tuple(parsed.data),
        precision=parsed.precision,
        num_threads=parsed.threads,
        num_queries=parsed.queries,
        num_candidates=parsed.candidates,
        k=parsed.k,
        kinds=tuple(parsed.only),
        shares=tuple(parsed.early_stop),
        deadlines_ms=tuple(parsed.deadline_ms),
        short_length=parsed.short_length,
        windows=parsed.windows,
        calibration=parsed.calibration,
        seed=parsed.seed,
        json_path=parsed.json,
        plot_path=parsed.plot,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zen-fast bench --skip-work",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--skip-work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--model", default="zen-mini", help="model, folder or hub id")
    parser.add_argument(
        "--data",
        nargs="+",
        default=[],
        metavar="DIR[:SPLIT]",
        help="judged collections in BEIR layout (default: the standard library's documentation)",
    )
    parser.add_argument("--precision", default="int8", help="fp32 or int8 (default: int8)")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument(
        "--queries", type=int, default=20, metavar="N", help="of each collection (default: 20)"
    )
    parser.add_argument("--candidates", type=int, default=100, metavar="N", help="(default: 100)")
    parser.add_argument("--k", type=int, default=10, help="results asked for (default: 10)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=KINDS,
        default=KINDS,
        metavar="KIND",
        help=f"of {', '.join(KINDS)} (default: all)",
    )
    parser.add_argument(
        "--early-stop",
        type=_numbers,
        default=[0.8, 0.9, 0.95, 0.99],
        metavar="P,Q",
        help="shares of the exact top k (default: 0.8,0.9,0.95,0.99)",
    )
    parser.add_argument(
        "--deadline-ms",
        type=_numbers,
        default=[50.0, 200.0],
        metavar="P,Q",
        help="deadlines (default: 50,200)",
    )
    parser.add_argument(
        "--short-length",
        type=int,
        default=128,
        metavar="N",
        help="tokens to which long documents are truncated, and of their windows (default: 128)",
    )
    parser.add_argument(
        "--windows", type=int, default=2, metavar="N", help="windows of a document (default: 2)"
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="FILE", help="(default: beside the checkpoint)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="plot time against overlap and nDCG@10"
    )
    return parser


def _numbers(text: str) -> list[float]:
    return [float(each) for each in text.split(",") if each.strip()]
