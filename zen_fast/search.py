"""`zen-fast search`: ask an index, and rerank what it finds."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from zen_fast.command_line import run_command
from zen_fast.errors import InvalidArgumentError
from zen_fast.rerank import table_lines

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
    parser.add_argument(
        "--threads", type=int, metavar="N", help="of the reranker (default: every usable core)"
    )
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
            print(json.dumps({"rank": rank, "score": score, "document": dict(document)}))
        return 0
    for line in table_lines([(score, document["text"]) for score, document in found]):
        print(line)
    return 0


def _found(retriever: Any, arguments: argparse.Namespace) -> list[tuple[float, Any]]:
    """Scores and documents, best first."""
    if arguments.rerank is None and arguments.first_stage_weight:
        raise InvalidArgumentError(
            "--first-stage-weight weighs the index against a reranker: name one with --rerank"
        )
    num_candidates = arguments.k if arguments.rerank is None else arguments.candidates
    candidates = retriever.retrieve(arguments.query, num_candidates, mode=arguments.mode)
    if arguments.rerank is None:
        return [(candidate.score, candidate) for candidate in candidates]
    from zen_fast.reranker import ZenReranker

    reranker = ZenReranker.from_pretrained(arguments.rerank, num_threads=arguments.threads)
    ranked = reranker.rerank(
        arguments.query,
        candidates,
        k=arguments.k,
        first_stage_weight=arguments.first_stage_weight,
    )
    return [(result.score, result.document) for result in ranked]


if __name__ == "__main__":
    sys.exit(main())
