"""`zen-fast calibrate`: fit early stopping to a model."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zen_fast.command_line import CommandParser, run_command
from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install

_DESCRIPTION = """\
Fit early stopping to a model, so that rerank(..., early_stop=0.95) knows when the top k is settled:
rerank BM25's candidates of some collections, see how scores fall with the rank and what an early
layer knows of them, and choose what keeps each share of the top k at the least cost.
"""
_EPILOG = """\
examples:
  zen-fast calibrate zen-mini --data data/cacm data/medquad:train --out early_stop.json
  zen-fast calibrate my-model/ --data data/* stdlib --queries 50

Take texts like those that will be searched, and several collections: their differences set how much
is kept in reserve. Some hundred queries take minutes. Judgements are not used. Without --out the
calibration goes beside the checkpoint, where from_pretrained finds it; a model that ships with the
package keeps its own, so there --out is needed: from_pretrained(..., calibration="FILE").
"""


def build_parser() -> CommandParser:
    """The command line, with help that teaches."""
    parser = CommandParser(
        prog="zen-fast calibrate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="zen-mini, a local folder, or a hub id")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER[:SPLIT]",
        help="BEIR folders (the split is test unless named), or stdlib, the documentation of "
        "Python's standard library",
    )
    parser.add_argument(
        "--queries", type=int, default=40, metavar="N", help="of each collection (default: 40)"
    )
    parser.add_argument(
        "--depth", type=int, default=100, metavar="N", help="candidates of a query (default: 100)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--precision", default="auto", help="fp32 or int8 (default: as stored)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: all cores)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="file to write (default: beside the checkpoint)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(argv)
    return run_command(lambda: _calibrate(options))


def _calibrate(options: argparse.Namespace) -> int:
    try:
        from zen_fast.early_stop.run import run
    except ImportError as error:
        raise MissingDependencyError(
            f"calibration needs {error.name}: {install('eval')}"
        ) from error
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
