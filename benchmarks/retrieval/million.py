"""Indexes and serves a million short documents: times, memory, size.

    python -m benchmarks.retrieval.million --out million.json
    python -m benchmarks.retrieval.million --embedder all-MiniLM-L6-v2/ --out million.json

The documents are sentences of the standard library's documentation, each time with a few words
replaced. Building and serving run in processes of their own, so that each has its own peak memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import re
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from zen_fast.eval.metrics import percentiles
from zen_fast.machine import describe_machine, describe_versions, git_commit
from zen_fast.standard_library import standard_library_collection

NUM_QUERIES = 200
REPLACED_SHARE = 0.3
"""Words of a sentence that become others: documents then differ, and share most of their words."""


def sentences() -> list[str]:
    """Sentences of 5 to 40 words."""
    bodies = standard_library_collection().documents.values()
    split = (re.split(r"(?<=[.!?])\s+", document.text) for document in bodies)
    return sorted({s for parts in split for s in parts if 5 <= len(s.split()) <= 40})


def documents(count: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """`count` documents, the same for the same seed."""
    rng = random.Random(seed)
    originals = sentences()
    words = [word for sentence in originals for word in sentence.split()]
    for number in range(count):
        varied = (
            rng.choice(words) if rng.random() < REPLACED_SHARE else word
            for word in originals[number % len(originals)].split()
        )
        yield {"id": str(number), "text": " ".join(varied)}


def main() -> None:
    """Measure what the command line asks for, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--embedder", metavar="MODEL", help="none: BM25 alone")
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--vectors", default="f16")
    parser.add_argument("--search", default="exact")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--folder", type=Path, help="keeps the index, and goes on where it was")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="zen-fast-million-"))
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "git_commit": git_commit(),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "options": {name: str(value) for name, value in vars(options).items()},
        "build": _in_process(_build, options, folder),
        "serve": _in_process(_serve, options, folder),
    }
    files = [path for path in (folder / "index").rglob("*") if path.is_file()]
    report["index_mb"] = round(sum(path.stat().st_size for path in files) / 1e6, 1)
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("build", "serve", "index_mb")}, indent=1))
    if options.folder is None:
        shutil.rmtree(folder)


def _in_process(
    work: Callable[[argparse.Namespace, Path], dict[str, Any]],
    options: argparse.Namespace,
    folder: Path,
) -> dict[str, Any]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_with_peak_memory, work, options, folder).result()


def _with_peak_memory(
    work: Callable[[argparse.Namespace, Path], dict[str, Any]],
    options: argparse.Namespace,
    folder: Path,
) -> dict[str, Any]:
    figures = work(options, folder)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**figures, "peak_mb": round(peak_kb / 1e3)}


def _build(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from zen_fast import ZenEmbedder, ZenRetriever

    embedder = None
    if options.embedder is not None:
        embedder = ZenEmbedder.from_pretrained(
            options.embedder, precision=options.precision, num_threads=options.threads
        )
    started = time.perf_counter()
    retriever = ZenRetriever.from_corpus(
        documents(options.documents),
        embedder=embedder,
        vectors=options.vectors,
        search=options.search,
        resume_folder=folder / "partial" if embedder is not None else None,
    )
    indexed = time.perf_counter()
    retriever.save(folder / "index")
    return {
        "index_s": round(indexed - started, 1),
        "save_s": round(time.perf_counter() - indexed, 1),
        "mode": retriever.mode,
    }


def _serve(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from zen_fast import ZenRetriever

    started = time.perf_counter()
    retriever = ZenRetriever.load(folder / "index")
    figures: dict[str, Any] = {"load_s": round(time.perf_counter() - started, 2)}
    queries = [row["text"] for row in documents(NUM_QUERIES, seed=1)]
    modes = ("bm25", "dense", "hybrid") if retriever.mode == "hybrid" else (retriever.mode,)
    for mode in modes:
        retriever.batch_retrieve(queries[:5], mode=mode)  # pages of the index come into memory
        latencies_ms = []
        for query in queries:
            asked = time.perf_counter()
            retriever.retrieve(query, k=100, mode=mode)
            latencies_ms.append(1000 * (time.perf_counter() - asked))
        figures[mode] = percentiles(latencies_ms)
    return figures


if __name__ == "__main__":
    main()
