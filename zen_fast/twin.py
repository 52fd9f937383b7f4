"""`zen-fast twin`: a cross-encoder that reads a query once for all documents."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from zen_fast.command_line import CommandParser, run_command
from zen_fast.errors import InvalidArgumentError, MissingDependencyError
from zen_fast.extras import install

_DESCRIPTION = """\
Distill a query-independent twin from a BERT cross-encoder. In the twin a query's tokens see only
each other, so that one computation of them, through all layers, serves every document of the query
(prefix_cache_mb); a document's tokens see both, and the score is read at the last of them.
"""
_EPILOG = """\
example:
  zen-fast twin zen-mini --data data/squad:train data/medquad:train --max-length 192 --out twin/

Judgements are not used: the teacher's scores of BM25's candidates are what the twin learns. Take
texts like those that will be searched; compare the two with `zen-fast eval` afterwards. The same
command goes on with a run that was interrupted. Only the lists of candidates need the collections
and BM25's packages: those in a file (--lists) can be learned from on another machine.
"""


def build_parser() -> CommandParser:
    """The command line, with help that teaches."""
    parser = CommandParser(
        prog="zen-fast twin",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="zen-mini, a local folder, or a hub id")
    parser.add_argument(
        "--data",
        nargs="+",
        metavar="FOLDER[:SPLIT]",
        help="BEIR folders; the split is test unless named",
    )
    parser.add_argument(
        "--lists",
        type=Path,
        metavar="FILE",
        help="candidates made of --data: read if it is there, else written (.npz)",
    )
    parser.add_argument(
        "--lists-only", action="store_true", help="write the file of --lists and stop"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where the twin is written"
    )
    parser.add_argument(
        "--queries",
        type=int,
        nargs="+",
        default=[2000],
        metavar="N",
        help="of all collections, or of each (default: 2000)",
    )
    parser.add_argument(
        "--statements",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="sentences of the documents that are queries, too: for all collections, or for each "
        "(default: 0)",
    )
    parser.add_argument("--steps", type=int, default=1500, metavar="N", help="(default: 1500)")
    parser.add_argument(
        "--learning-rate", type=float, default=1e-4, metavar="X", help="(default: 1e-4)"
    )
    parser.add_argument(
        "--lists-per-step", type=int, default=4, metavar="N", help="queries a step (default: 4)"
    )
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="tokens of a pair (default: the model's own)"
    )
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the lists (default: 0)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: all cores)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = build_parser().parse_args(argv)
    return run_command(lambda: _train(options))


def _train(options: argparse.Namespace) -> int:
    try:
        from zen_fast.train.twin.run import get_lists, run
    except ImportError as error:
        raise MissingDependencyError(f"training needs {error.name}: {install('train')}") from error
    if options.lists_only:
        if options.lists is None:
            raise InvalidArgumentError("--lists-only: name the file with --lists")
        print(f"{len(get_lists(options))} lists")
        return 0
    losses = [round(loss, 4) for loss in run(options)]
    (options.out / "training.json").write_text(json.dumps({"losses": losses}) + "\n")
    print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
