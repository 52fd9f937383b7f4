"""A corpus through a bi-encoder: this project's engine against sentence-transformers.

    python -m benchmarks.retrieval.encoding --model all-MiniLM-L6-v2/ --data data/cranfield \\
        --threads 2 --out encoding.json

Engines encode the same parts of the corpus in turn, so that a drift of the machine falls on all of
them; then each one's embeddings search for the same queries, and recall@100 stands beside the time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zen_fast.candidates import answerable_queries
from zen_fast.collection import load_collection
from zen_fast.eval.metrics import query_measures
from zen_fast.machine import describe_machine, describe_versions, git_commit

PART_DOCUMENTS = 512
MEASURES = ("R@100", "nDCG@10")

Encode = Callable[[Sequence[str]], np.ndarray]


def main() -> None:
    """Measure what the command line asks for, and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, metavar="FOLDER")
    parser.add_argument("--data", required=True, type=Path, metavar="FOLDER", help="BEIR layout")
    parser.add_argument("--split", default="test")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), metavar="N")
    parser.add_argument("--documents", type=int, default=0, metavar="N", help="the first N only")
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    collection = load_collection(options.data, options.split)
    ids = list(collection.documents)[: options.documents or None]
    texts = [collection.documents[key].full for key in ids]
    encoders = _open_encoders(options.model, options.threads)
    seconds, embeddings = _encode_in_turn(encoders, texts)
    query_ids = answerable_queries(collection)
    rows = {}
    for name, encode in encoders.items():
        similarities = encode([collection.queries[key] for key in query_ids]) @ embeddings[name].T
        run = {
            query_id: {ids[place]: float(row[place]) for place in np.argsort(-row)[:100]}
            for query_id, row in zip(query_ids, similarities, strict=True)
        }
        measures = query_measures(collection.judgements, run, MEASURES)
        rows[name] = {
            "documents_per_s": round(len(texts) / seconds[name], 1),
            **{measure: 100 * float(values.mean()) for measure, values in measures.items()},
        }
    report: dict[str, Any] = {
        "git_commit": git_commit(),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "collection": collection.name,
        "documents": len(texts),
        "threads": options.threads,
        "engines": rows,
    }
    options.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=1))


def _open_encoders(model: str, num_threads: int) -> dict[str, Encode]:
    import torch
    from sentence_transformers import SentenceTransformer

    from zen_fast import ZenEmbedder

    torch.set_num_threads(num_threads)
    stock = SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.float32})
    encoders: dict[str, Encode] = {
        "sentence-transformers": lambda texts: stock.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
    }
    for precision in ("fp32", "int8"):
        embedder = ZenEmbedder.from_pretrained(
            model, precision=precision, num_threads=num_threads, normalize=True
        )
        encoders[f"zen-{precision}"] = embedder.encode
    return encoders


def _encode_in_turn(
    encoders: dict[str, Encode], texts: Sequence[str]
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Seconds of each encoder over all texts, and its embeddings; the first part warms up."""
    seconds = dict.fromkeys(encoders, 0.0)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    for encode in encoders.values():
        encode(texts[:64])
    for turn, start in enumerate(range(0, len(texts), PART_DOCUMENTS)):
        names = list(encoders)
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            started = time.perf_counter()
            parts[name].append(encoders[name](texts[start : start + PART_DOCUMENTS]))
            seconds[name] += time.perf_counter() - started
    return seconds, {name: np.concatenate(each) for name, each in parts.items()}


if __name__ == "__main__":
    main()
