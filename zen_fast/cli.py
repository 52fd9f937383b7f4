"""`zen-fast`: one command line for every job."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zen_fast import __version__
from zen_fast.command_line import USER_MISTAKE, run_command


@dataclass(frozen=True)
class Job:
    """A subcommand."""

    module: str
    """Has `main(argv) -> int`; imported only when the job runs."""
    summary: str


JOBS: Mapping[str, Job] = {
    "rerank": Job("zen_fast.rerank", "rank the lines or JSON records of a file for a query"),
    "index": Job("zen_fast.index", "make a searchable index of a corpus"),
    "search": Job("zen_fast.search", "ask an index, and rerank what it finds"),
    "bench": Job("zen_fast.bench.__main__", "measure latency, throughput, memory and quality"),
    "eval": Job("zen_fast.eval.__main__", "measure ranking quality on judged collections"),
    "quantize": Job("zen_fast.quantize", "write a model as an int8 checkpoint"),
    "calibrate": Job("zen_fast.calibrate", "fit early stopping to a model"),
    "platt": Job("zen_fast.platt.__main__", "scale a model's logits to log odds of relevance"),
    "train": Job("zen_fast.train.__main__", "train a small reranker from judged collections"),
    "twin": Job("zen_fast.twin", "distill a reranker that reads a query only once"),
}

_EXAMPLES = """\
examples:
  zen-fast rerank --query "what causes climate change" passages.txt
  zen-fast rerank --query "what causes climate change" --json --k 3 corpus.jsonl
  zen-fast index passages.txt my-index/
  zen-fast search --index my-index/ --rerank zen-mini "what causes climate change"
  zen-fast quantize zen-mini zen-mini-int8/
  zen-fast eval --precision fp32,int8 data/cranfield
  zen-fast calibrate my-model/ --data data/cacm data/medquad:train
  zen-fast bench --help
  zen-fast train --help

Every job is a module too: python -m zen_fast.rerank, python -m zen_fast.bench, ...
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments:
        print(help_text(), end="", file=sys.stderr)
        return USER_MISTAKE
    name, *rest = arguments
    if name in ("-h", "--help", "help"):
        print(help_text(), end="")
        return 0
    if name in ("-V", "--version"):
        print(f"zen-fast {__version__}")
        return 0
    job = JOBS.get(name)
    if job is None:
        print(f"zen-fast: error: {_unknown(name)}", file=sys.stderr)
        return USER_MISTAKE
    return run_command(lambda: int(importlib.import_module(job.module).main(rest)))


def help_text() -> str:
    """What --help prints."""
    width = max(map(len, JOBS))
    jobs = "".join(f"  {name:<{width}}  {job.summary}\n" for name, job in JOBS.items())
    return (
        "usage: zen-fast JOB [options]\n\n"
        "A fast cross-encoder reranker, with the scores of the stock model.\n\n"
        f"jobs (zen-fast JOB --help says more):\n{jobs}\n"
        "options:\n  -h, --help     this text\n  -V, --version  the version\n\n"
        f"{_EXAMPLES}"
    )


def _unknown(name: str) -> str:
    message = f"there is no job {name!r}; jobs are {', '.join(JOBS)}"
    alike = difflib.get_close_matches(name, JOBS, n=1)
    return f"{message}: did you mean {alike[0]!r}?" if alike else message
