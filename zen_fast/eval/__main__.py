"""`zen-fast eval`: quality on judged collections, models and precisions as columns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from zen_fast.command_line import run_command
from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install

_DESCRIPTION = """\
Rerank the candidates of judged collections and report nDCG@10 before and after, with every model
and precision as a column of its own, compared with the first one and with no reranking: each
difference with its 95 % interval and the p-value of a randomization test, paired by query.
"""
_EPILOG = """\
examples:
  zen-fast eval data/cranfield data/cacm
  zen-fast eval --precision fp32,int8 --json quality.json data/squad:dev --queries 1000
  zen-fast eval --model zen-mini,my-model/ --judged data/selqa
  zen-fast eval --first-stage bm25,hybrid --embedder all-MiniLM-L6-v2/ --index indexes/ data/npl
  zen-fast eval --first-stage-weight 0.2 --queries 100 data/npl data/cisi
  zen-fast eval --first-stage my-run.trec --write-runs runs/ --markdown report.md data/cacm

A collection is a BEIR folder: corpus.jsonl[.gz], queries.jsonl[.gz], qrels/SPLIT.tsv. The split is
"test" unless FOLDER:SPLIT names another; FOLDER:SPLIT:judged reranks each query's judged documents.
Queries without a relevant document are left out; one for which nothing is found counts as 0.
--write-runs makes a folder for each system, which --first-stage takes in its turn.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="zen-fast eval",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("collections", nargs="+", metavar="FOLDER[:SPLIT[:judged]]")
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
        help="rerank the documents judged for a query instead of a first stage's, everywhere",
    )
    parser.add_argument(
        "--first-stage",
        type=lambda text: text.split(","),
        default=["bm25"],
        metavar="A,B",
        help="bm25, dense, hybrid, TREC runs, or folders of runs (default: bm25)",
    )
    parser.add_argument(
        "--embedder", metavar="MODEL", help="bi-encoder of dense and hybrid: a folder or a hub id"
    )
    parser.add_argument(
        "--embedder-precision", default="auto", metavar="P", help="its precision (default: auto)"
    )
    parser.add_argument(
        "--index", type=Path, metavar="FOLDER", help="keep each collection's index there"
    )
    parser.add_argument(
        "--first-stage-weight",
        type=lambda text: [float(weight) for weight in text.split(",")],
        default=[],
        metavar="W,V",
        help="also rank by each reranker's and the first stage's scores together, the latter's "
        "share being W (between 0 and 1), as rerank(first_stage_weight=W) does",
    )
    parser.add_argument(
        "--depth", type=int, default=100, metavar="N", help="candidates (default: 100)"
    )
    parser.add_argument(
        "--queries", type=int, default=0, metavar="N", help="random sample of the queries"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    for name, what in (
        ("json", "everything as JSON"),
        ("markdown", "the tables"),
        ("csv", "a line for each collection and system"),
        ("plot", "quality against time"),
    ):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"write {what}")
    parser.add_argument(
        "--write-runs", type=Path, metavar="FOLDER", help="write every ranking as a TREC run"
    )
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
        raise MissingDependencyError(f"evaluation needs {error.name}: {install('eval')}") from error
    return run(options, arguments)


if __name__ == "__main__":
    sys.exit(main())
