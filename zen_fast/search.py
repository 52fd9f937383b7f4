"""`zen-fast search`: ask an index, and rerank what it finds."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

from zen_fast.command_line import run_command
from zen_fast.errors import InvalidArgumentError
from zen_fast.model_options import add_model_options, load_reranker
from zen_fast.rerank import table_lines, tell_work

_EPILOG = """\
examples:
  zen-fast search --index my-index/ "what causes climate change"
  zen-fast search --index my-index/ --rerank zen-mini --candidates 200 --k 5 "what causes ..."
  zen-fast search --index my-index/ --rerank zen-mini --first-stage-weight 0.2 "what causes ..."
  zen-fast search --index my-index/ --json "..." | jq -r .document.id

`zen-fast index` makes an index. With --json every result is one line of JSON:
{"rank": 1, "score": 0.97, "document": {"id": ..., "text": ..., ...}}.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="zen-fast search",
        description="Find the documents of an index for a query, best first.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", metavar="QUERY", help="what to look for")
    parser.add_argument("--index", required=True, metavar="FOLDER", help="what zen-fast index made")
    parser.add_argument(
        "--mode", choices=("bm25", "dense", "hybrid"), help="(default: the index's own)"
    )
    parser.add_argument(
        "--rerank", metavar="MODEL", help="rerank what is found with this cross-encoder"
    )
    parser.add_argument(
        "--candidates", type=int, default=100, metavar="N", help="for it (default: 100)"
    )
    parser.add_argument(
        "--first-stage-weight",
        type=float,
        default=0.0,
        metavar="W",
        help="the index's share of the reranked order, 0 to 1 (default: 0); with zen-mini 0.2 "
        "ranks better after BM25, and 0.6 after hybrid retrieval",
    )
    parser.add_argument("--k", type=int, default=10, help="results to print (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per result")
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _search(arguments))


def _search(arguments: argparse.Namespace) -> int:
    from zen_fast.retrieval import ZenRetriever

    found = _found(ZenRetriever.load(arguments.index), arguments)
    if not found:
        print("zen-fast: nothing found", file=sys.stderr)
    if arguments.json:
        for rank, (score, document) in enumerate(found, start=1):
            known = None if math.isnan(score) else score
            print(json.dumps({"rank": rank, "score": known, "document": dict(document)}))
        return 0
    for line in table_lines([(score, document["text"]) for score, document in found]):
        print(line)
    return 0


def _found(retriever: Any, arguments: argparse.Namespace) -> list[tuple[float, Any]]:
    """Scores and documents, best first."""
    if arguments.rerank is None:
        _refuse_reranking(arguments)
        found = retriever.retrieve(arguments.query, arguments.k, mode=arguments.mode)
        return [(candidate.score, candidate) for candidate in found]
    if arguments.candidates < 1:
        raise InvalidArgumentError(f"--candidates {arguments.candidates}: it must be at least 1")
    candidates = retriever.retrieve(arguments.query, arguments.candidates, mode=arguments.mode)
    ranked = load_reranker(arguments.rerank, arguments).rerank(
        arguments.query,
        candidates,
        k=arguments.k,
        early_stop=arguments.early_stop,
        deadline_ms=arguments.deadline_ms,
        first_stage_weight=arguments.first_stage_weight,
    )
    tell_work(ranked.work)
    return [(result.score, result.document) for result in ranked]


def _refuse_reranking(arguments: argparse.Namespace) -> None:
    """An option of a reranker that is not there would do nothing."""
    for option, is_given in (
        ("--first-stage-weight", arguments.first_stage_weight),
        ("--early-stop", arguments.early_stop is not None),
        ("--deadline-ms", arguments.deadline_ms is not None),
    ):
        if is_given:
            raise InvalidArgumentError(f"{option} is of a reranker: name one with --rerank")


if __name__ == "__main__":
    sys.exit(main())
