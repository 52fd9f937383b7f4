"""`zen-fast rerank`: rank the lines of a file for a query."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from zen_fast.command_line import run_command
from zen_fast.document_files import FileDocument, read_documents
from zen_fast.documents import RankedDocument
from zen_fast.model_options import add_model_options, load_reranker
from zen_fast.ranking import Work

_EPILOG = """\
examples:
  zen-fast rerank --query "what causes climate change" passages.txt
  zen-fast rerank --query "what causes climate change" --precision int8 passages.txt
  zen-fast rerank --query "what causes climate change" --text-field body articles.jsonl
  grep -rh climate notes/ | zen-fast rerank --query "what causes climate change" --k 3 -
  zen-fast rerank --query "..." --json corpus.jsonl | jq -r .document._id

The file has one document per line: plain text, or JSON (.jsonl, .ndjson, .json, or --format jsonl)
whose "text" is scored. Blank lines are skipped. With --json every result is one line of JSON:
{"rank": 1, "score": 0.97, "line": 12, "document": ...}, and with --long-documents chunk the
characters of the window that the score is of.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="zen-fast rerank",
        description="Rank the documents of a file for a query, best first.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="one document per line; - for stdin")
    parser.add_argument("--query", required=True, metavar="TEXT", help="what to rank for")
    parser.add_argument(
        "--model",
        default="zen-mini",
        help="zen-mini (ships with the package), a local folder, or a hub id (default: zen-mini)",
    )
    parser.add_argument(
        "--instruction",
        metavar="TEXT",
        help="what relevance means here, for a model whose prompt has a place for it",
    )
    parser.add_argument(
        "--template",
        metavar="PROMPT",
        help="what the model reads, such as 'query: {query} document: {document}', or the name of "
        "a published model's (default: the checkpoint's own)",
    )
    parser.add_argument("--k", type=int, default=10, help="results to print (default: 10)")
    parser.add_argument(
        "--format", choices=("text", "jsonl"), help="of the file (default: by its suffix)"
    )
    parser.add_argument(
        "--text-field", default="text", metavar="NAME", help="JSON field to score (default: text)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per result")
    parser.add_argument(
        "--max-length", type=int, metavar="N", help="longest pair in tokens (default: the model's)"
    )
    parser.add_argument(
        "--long-documents",
        choices=("truncate", "chunk"),
        default="truncate",
        help="longer documents are cut off, or read in windows of --max-length of which the best "
        "counts (default: truncate)",
    )
    parser.add_argument(
        "--max-windows",
        type=int,
        metavar="N",
        help="windows read of a document with --long-documents chunk (default: all)",
    )
    add_model_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _rerank(arguments))


def _rerank(arguments: argparse.Namespace) -> int:
    documents = read_documents(arguments.file, arguments.format, arguments.text_field)
    if not documents:
        print(f"zen-fast: {arguments.file} has no documents", file=sys.stderr)
        return 0
    reranker = load_reranker(
        arguments.model,
        arguments,
        max_length=arguments.max_length,
        template=arguments.template,
        long_documents=arguments.long_documents,
        max_windows=arguments.max_windows,
    )
    ranking = reranker.rerank(
        arguments.query,
        [document.text for document in documents],
        k=arguments.k,
        instruction=arguments.instruction,
        early_stop=arguments.early_stop,
        deadline_ms=arguments.deadline_ms,
    )
    ranked = [(result, documents[result.index]) for result in ranking]
    shown = [(result.score, document.text) for result, document in ranked]
    for line in _json_lines(ranked) if arguments.json else table_lines(shown):
        print(line)
    tell_work(ranking.work)
    return 0


def tell_work(work: Work) -> None:
    """Say on stderr what was not scored, if anything, and why."""
    if work.is_partial or work.why:
        reason = work.why or _reason(work)
        print(
            f"zen-fast: scored {work.num_scored} of {work.num_candidates}: {reason}",
            file=sys.stderr,
        )


def _reason(work: Work) -> str:
    """Why some candidates have no score."""
    given_up = f"{work.num_given_up} given up after layer {work.given_up_after}"
    reasons = [given_up] if work.num_given_up else []
    match work.stopped:
        case "deadline":
            reasons.append("time was up")
        case "settled":
            reasons.append("the rest would not change the best")
    return ", ".join(reasons)


def _json_lines(ranked: list[tuple[RankedDocument, FileDocument]]) -> Iterator[str]:
    for rank, (ranked_document, document) in enumerate(ranked, start=1):
        score, window = ranked_document.score, ranked_document.window
        result: dict[str, Any] = {
            "rank": rank,
            "score": None if math.isnan(score) else score,
            "line": document.line,
            "document": document.content,
        }
        if window is not None:
            result["window"] = window
        line = json.dumps(result, ensure_ascii=False)
        yield line if _is_encodable(line) else json.dumps(result)


def table_lines(ranked: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Lines of rank, score and text, cut to the terminal's width where there is one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    rank_width = len(str(len(ranked)))
    for rank, (score, whole) in enumerate(ranked, start=1):
        head = f"{rank:>{rank_width}}  {score:>8.4f}  "
        text = _printable(whole)
        yield head + (text if width is None else _cut(text, width - len(head)))


def _printable(text: str) -> str:
    """`text` in one line that no terminal takes for a command."""
    shown = "".join(c if c.isprintable() else " " for c in " ".join(text.split()))
    return shown if _is_encodable(shown) else shown.encode("ascii", "replace").decode()


def _is_encodable(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8", sys.stdout.errors or "strict")
    except UnicodeEncodeError:
        return False
    return True


def _cut(text: str, width: int) -> str:
    """As much of `text` as fits into `width` columns, with an ellipsis where it is cut."""
    if sum(map(_num_columns, text)) <= width:
        return text
    kept, columns = "", 1
    for character in text:
        columns += _num_columns(character)
        if columns > width:
            break
        kept += character
    return kept + "…"


def _num_columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


if __name__ == "__main__":
    sys.exit(main())
