"""One evaluation from the command line to the report."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zen_fast.candidates import Request, answerable_queries, bm25_requests, judged_requests
from zen_fast.collection import Collection, load_collection
from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.quality import CollectionQuality, Score, compare_rerankers
from zen_fast.eval.table import mean_relative_change, print_quality
from zen_fast.machine import describe_machine, describe_versions, git_commit
from zen_fast.reranker import ZenReranker


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Evaluate, print and write.

    Raises:
        ZenError: a model or a collection cannot be had.
    """
    if options.json is not None and not options.json.resolve().parent.is_dir():
        raise InvalidArgumentError(
            f"cannot write {options.json}: there is no folder {options.json.parent}"
        )
    scorers = _open_scorers(options)
    results = []
    for target in options.collections:
        folder, _, split = target.partition(":")
        collection = load_collection(Path(folder), split or "test")
        results.append(_evaluate(collection, split or "test", scorers, options))
        if options.json is not None:  # after each, so that an interrupt loses little
            report = _report(options, arguments, results)
            options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print_quality(results, Console())
    return 0


def _open_scorers(options: argparse.Namespace) -> dict[str, Score]:
    scorers: dict[str, Score] = {}
    for model in options.model:
        for precision in options.precision:
            reranker = ZenReranker.from_pretrained(
                model,
                precision=precision,
                device=options.device,
                num_threads=options.threads,
                # Logits, because a sigmoid ties the best documents where it saturates.
                activation="identity",
            )
            scorers[" ".join((Path(model).name, precision))] = reranker.score
    return scorers


def _evaluate(
    collection: Collection, split: str, scorers: dict[str, Score], options: argparse.Namespace
) -> CollectionQuality:
    requests = _requests(collection, options)
    num_pairs = len(scorers) * sum(len(request.documents) for request in requests)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{collection.name}: pairs", total=num_pairs)
        return compare_rerankers(
            requests,
            collection.judgements,
            scorers,
            collection=collection.name,
            split=split,
            candidates="judged" if options.judged else "bm25",
            advance=lambda num_pairs: progress.advance(task, num_pairs),
        )


def _requests(collection: Collection, options: argparse.Namespace) -> tuple[Request, ...]:
    query_ids = answerable_queries(collection)
    if 0 < options.queries < len(query_ids):
        query_ids = random.Random(options.seed).sample(query_ids, options.queries)
    if options.judged:
        requests = judged_requests(collection, query_ids)
    else:
        requests = bm25_requests(collection, query_ids, options.depth)
    if not requests:
        raise InvalidArgumentError(
            f"{collection.name} has {len(query_ids)} queries with a relevant document in this "
            "split, and none of them shares a word with a document"
        )
    return requests


def _report(
    options: argparse.Namespace, arguments: Sequence[str], results: Sequence[CollectionQuality]
) -> dict[str, Any]:
    columns = results[0].columns
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": ["python", "-m", "zen_fast.eval", *arguments],
        "git_commit": git_commit(),
        "machine": describe_machine(),
        "versions": describe_versions(),
        "depth": options.depth,
        "seed": options.seed,
        "measure": "nDCG@10 x 100; changes and differences are from the first column",
        "change_of_mean_percent": {
            column.name: mean_relative_change(results, place)
            for place, column in enumerate(columns)
        },
        "collections": [asdict(result) for result in results],
    }
