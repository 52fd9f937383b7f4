"""`python -m zen_fast.eval`: quality on judged collections, models and precisions as columns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zen_fast.command_line import run_command
from zen_fast.errors import MissingDependencyError

_DESCRIPTION = """\
Rerank the candidates of judged collections and report nDCG@10 before and after, with every model
and precision as a column of its own, compared with the first one.
"""
_EPILOG = """\
examples:
  zen-fast eval data/cranfield data/cacm
  zen-fast eval --precision fp32,int8 --json quality.json data/squad:dev --queries 1000
  zen-fast eval --model zen-mini,my-model/ --judged data/selqa

A collection is a BEIR folder: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/SPLIT.tsv. The split is
"test" unless FOLDER:SPLIT names another. Queries without a relevant document are left out.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="python -m zen_fast.eval",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("collections", nargs="+", metavar="FOLDER[:SPLIT]")
    parser.add_argument(
        "--model",
        type=lambda text: text.split(","),
        default=["zen-mini"],
        metavar="A,B",
        help="zen-mini, local folders, hub ids (default: zen-mini)",
    )
    parser.add_argument(
        "--precision",
        type=lambda text: text.split(","),
        default=["auto"],
        metavar="P,Q",
        help="precisions of each model (default: auto)",
    )
    parser.add_argument("--device", default="auto", help="where to run (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: all cores)")
    parser.add_argument(
        "--judged",
        action="store_true",
        help="rerank the documents judged for a query instead of BM25's best of the whole corpus",
    )
    parser.add_argument(
        "--depth", type=int, default=100, metavar="N", help="BM25 candidates (default: 100)"
    )
    parser.add_argument(
        "--queries", type=int, default=0, metavar="N", help="random sample of the queries"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parsed = build_parser().parse_args(arguments)
    return run_command(lambda: _evaluate(parsed, arguments))


def _evaluate(options: argparse.Namespace, arguments: list[str]) -> int:
    try:
        from zen_fast.eval.run import run
    except ImportError as error:
        raise MissingDependencyError(
            f"evaluation needs {error.name}: pip install zen-fast[eval]"
        ) from error
    return run(options, arguments)


if __name__ == "__main__":
    sys.exit(main())
