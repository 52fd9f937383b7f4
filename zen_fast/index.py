"""`zen-fast index`: make a searchable index of a corpus."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from zen_fast.command_line import run_command

_EPILOG = """\
examples:
  zen-fast index passages.txt my-index/
  zen-fast index --embedder all-MiniLM-L6-v2/ --precision int8 corpus.jsonl.gz my-index/
  zen-fast search --index my-index/ --rerank zen-mini "what causes climate change"

CORPUS is JSON lines with a "text" (and perhaps "_id", "title" and other fields), a BEIR folder, or
a text file with one document per line. An embedding run that was cut off goes on where it was; what
it keeps for that is in my-index.partial/ until the index is written.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line, with help that teaches."""
    parser = argparse.ArgumentParser(
        prog="zen-fast index",
        description="Index a corpus by BM25, and by a bi-encoder's vectors where one is given.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("corpus", metavar="CORPUS", help="a file, or a BEIR folder")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the index")
    parser.add_argument("--embedder", metavar="MODEL", help="bi-encoder: a folder or a hub id")
    parser.add_argument(
        "--mode", choices=("bm25", "dense", "hybrid"), help="default: hybrid with an embedder"
    )
    parser.add_argument(
        "--precision", default="auto", metavar="P", help="the embedder's (default: auto)"
    )
    parser.add_argument(
        "--dimensions", type=int, metavar="N", help="columns of an embedding (default: all)"
    )
    parser.add_argument(
        "--vectors", choices=("f32", "f16", "i8"), default="f16", help="as stored (default: f16)"
    )
    parser.add_argument(
        "--search", choices=("exact", "hnsw"), default="exact", help="(default: exact)"
    )
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads (default: every usable core)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _index(arguments))


def _index(arguments: argparse.Namespace) -> int:
    from zen_fast.embedder import ZenEmbedder
    from zen_fast.retrieval import ZenRetriever
    from zen_fast.retrieval.index_folder import require_index_folder
    from zen_fast.retrieval.resume_folder import ResumeFolder

    started = time.monotonic()
    out = arguments.out.resolve()
    require_index_folder(out)
    embedder = None
    if arguments.embedder is not None:
        embedder = ZenEmbedder.from_pretrained(
            arguments.embedder,
            precision=arguments.precision,
            dimensions=arguments.dimensions,
            num_threads=arguments.threads,
        )
    partial = None if embedder is None else ResumeFolder.beside(out)
    retriever = ZenRetriever.from_corpus(
        arguments.corpus,
        embedder=embedder,
        mode=arguments.mode,
        vectors=arguments.vectors,
        search=arguments.search,
        resume_folder=partial,
    )
    retriever.save(out)
    if partial is not None:
        partial.clear()
    seconds = time.monotonic() - started
    print(f"indexed {len(retriever):,} documents for {retriever.mode} search in {seconds:,.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
