"""`zen-fast platt`: scale a model's logits so that its scores are probabilities."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zen_fast.command_line import CommandParser, run_command
from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install

_DESCRIPTION = """\
Write a model whose logits are a slope times the model's, plus a level, such that their sigmoid is
the probability of relevance, if half of all candidates were relevant (Platt scaling). Every ranking
stays; a threshold such as 0.5 comes to mean something. Fitted on judged collections: BM25's best 20
documents of each query and 5 at random; relevant and other candidates count alike, and so does
every collection.
"""
_EPILOG = """\
examples:
  zen-fast platt my-model/ my-scaled-model/ --data data/my-collection:train
  zen-fast platt zen-mini scaled/ --data data/a:train data/b:train --held-out data/c

Take collections whose judgements are complete: a relevant document that nobody judged counts as
wrong. Only the classifier changes, so an int8 checkpoint is made afterwards.
"""


def build_parser() -> CommandParser:
    """The command line, with help that teaches."""
    parser = CommandParser(
        prog="zen-fast platt",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="zen-mini, a local folder, or a hub id")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write; must be new")
    parser.add_argument(
        "--data",
        nargs="+",
        required=True,
        metavar="FOLDER[:SPLIT]",
        help="BEIR folders to fit on (the split is test unless named), or stdlib, the "
        "documentation of Python's standard library",
    )
    parser.add_argument(
        "--held-out",
        nargs="+",
        default=[],
        metavar="FOLDER[:SPLIT]",
        help="others that the loss is measured on, before and after",
    )
    parser.add_argument(
        "--queries", type=int, default=200, metavar="N", help="of each collection (default: 200)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--precision", default="auto", help="fp32 or int8 (default: as stored)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: all cores)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = build_parser().parse_args(arguments)
    return run_command(lambda: _scale(options, arguments))


def _scale(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    try:
        from zen_fast.platt.run import run
    except ImportError as error:
        raise MissingDependencyError(f"scaling needs {error.name}: {install('eval')}") from error
    return run(options, arguments)


if __name__ == "__main__":
    sys.exit(main())
