"""One evaluation from the command line to the report."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zen_fast.arguments import require_folders, share_of_first_stage
from zen_fast.candidates import answerable_queries, sample_queries
from zen_fast.collection import Collection, load_collection
from zen_fast.embedder import ZenEmbedder
from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.first_stage import Retrieved, from_run, judged, open_retriever, retrieve
from zen_fast.eval.labels import RETRIEVAL_MODES, distinct, first_stage_labels, model_labels
from zen_fast.eval.quality import CollectionQuality, Score, Scored, judge, score_requests
from zen_fast.eval.report import json_report, write_csv, write_json, write_markdown, write_plot
from zen_fast.eval.table import sheets
from zen_fast.eval.trec import write_run
from zen_fast.reranker import ZenReranker


@dataclass(frozen=True)
class Target:
    """A collection to evaluate on."""

    folder: Path
    split: str
    judged: bool
    """Whether the documents judged for a query are reranked, instead of a first stage's."""


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Evaluate, print and write.

    Raises:
        InvalidArgumentError: an option is not accepted, or names the same thing twice.
        ZenError: a model or a collection cannot be had.
    """
    require_folders((options.json, options.markdown, options.csv, options.plot))
    if options.write_runs is not None:
        options.write_runs.mkdir(parents=True, exist_ok=True)
    if options.judged and options.first_stage != ["bm25"]:
        raise InvalidArgumentError("--judged reranks judged documents: it takes no --first-stage")
    for weight in options.first_stage_weight:
        share_of_first_stage(weight)
    _require_distinct(options)
    embedder = _open_embedder(options)
    targets = [_target(text, options.judged) for text in options.collections]
    scorers = _open_scorers(options)
    settings = {"depth": options.depth, "seed": options.seed}
    results: list[CollectionQuality] = []
    for target in targets:
        collection = load_collection(target.folder, target.split)
        for result in _evaluate(collection, target, scorers, embedder, options):
            results.append(result)
            if options.json is not None:  # after each, so that an interrupt loses little
                write_json(json_report(settings, arguments, results), options.json)
    for sheet in sheets(results):
        sheet.print(Console())
    for path, write in (
        (options.markdown, write_markdown),
        (options.csv, write_csv),
        (options.plot, write_plot),
    ):
        if path is not None:
            write(results, path)
    return 0


def _target(text: str, all_judged: bool) -> Target:
    """FOLDER[:SPLIT[:judged]]."""
    folder, _, rest = text.partition(":")
    split, _, pool = rest.partition(":")
    if pool not in ("", "judged"):
        raise InvalidArgumentError(f"{text}: after the split may come `judged`, not {pool!r}")
    return Target(Path(folder), split or "test", all_judged or pool == "judged")


def _require_distinct(options: argparse.Namespace) -> None:
    """Before anything is loaded: of two systems of one name a report would lose one."""
    model_labels(options.model)
    first_stage_labels(options.first_stage)
    distinct("--precision", options.precision)
    distinct("--first-stage-weight", [f"{weight:g}" for weight in options.first_stage_weight])


def _open_embedder(options: argparse.Namespace) -> ZenEmbedder | None:
    dense = sorted({"dense", "hybrid"} & set(options.first_stage))
    if dense and options.embedder is None:
        raise InvalidArgumentError(f"--first-stage {dense[0]} needs a bi-encoder: --embedder")
    if options.embedder is None:
        return None
    if not dense:
        raise InvalidArgumentError("--embedder is for --first-stage dense or hybrid")
    return ZenEmbedder.from_pretrained(
        options.embedder,
        precision=options.embedder_precision,
        device=options.device,
        num_threads=options.threads,
    )


def _open_scorers(options: argparse.Namespace) -> dict[str, Score]:
    scorers: dict[str, Score] = {}
    for model, label in zip(options.model, model_labels(options.model), strict=True):
        for precision in options.precision:
            reranker = ZenReranker.from_pretrained(
                model,
                precision=precision,
                device=options.device,
                num_threads=options.threads,
                # Logits, because a sigmoid ties the best documents where it saturates.
                activation="identity",
            )
            scorers[f"{label} {precision}"] = reranker.score
    return scorers


def _evaluate(
    collection: Collection,
    target: Target,
    scorers: dict[str, Score],
    embedder: ZenEmbedder | None,
    options: argparse.Namespace,
) -> Iterator[CollectionQuality]:
    """The collection with each first stage."""
    query_ids = answerable_queries(collection)
    if options.queries > 0:
        query_ids = sample_queries(query_ids, options.queries, options.seed)
    for name, retrieved in _first_stages(collection, target, query_ids, embedder, options):
        if not any(request.documents for request in retrieved.requests):
            raise InvalidArgumentError(
                f"{collection.name} has {len(query_ids)} queries with a relevant document in this "
                f"split, and {name} finds no document for any of them"
            )
        scored = _scored(collection, retrieved, scorers)
        scored |= {
            f"{column}, {weight:g} first stage": each.with_first_stage(retrieved, weight)
            for weight in options.first_stage_weight
            for column, each in scored.items()
        }
        if options.write_runs is not None:
            _write_runs(options.write_runs, collection, target.split, name, retrieved, scored)
        yield judge(
            retrieved.requests,
            collection.judgements,
            scored,
            collection=collection.name,
            split=target.split,
            candidates=name,
            retrieval_ms=retrieved.latencies_ms,
        )


def _first_stages(
    collection: Collection,
    target: Target,
    query_ids: Sequence[str],
    embedder: ZenEmbedder | None,
    options: argparse.Namespace,
) -> Iterator[tuple[str, Retrieved]]:
    if target.judged:
        yield "judged", judged(collection, query_ids)
        return
    retriever = None
    labels = first_stage_labels(options.first_stage)
    for name, label in zip(options.first_stage, labels, strict=True):
        if name in RETRIEVAL_MODES:
            if retriever is None:
                retriever = open_retriever(collection, embedder, options.index)
            yield label, retrieve(retriever, collection, query_ids, name, options.depth)
        else:
            path = Path(name)
            if path.is_dir():
                path = path / f"{collection.name}.{target.split}.trec"
            yield label, from_run(path, collection, query_ids, options.depth)


def _scored(
    collection: Collection, retrieved: Retrieved, scorers: dict[str, Score]
) -> dict[str, Scored]:
    num_pairs = len(scorers) * sum(len(request.documents) for request in retrieved.requests)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task(f"{collection.name}: pairs", total=num_pairs)
        return score_requests(
            retrieved.requests, scorers, lambda num_pairs: progress.advance(task, num_pairs)
        )


def _write_runs(
    folder: Path,
    collection: Collection,
    split: str,
    first_stage: str,
    retrieved: Retrieved,
    scored: dict[str, Scored],
) -> None:
    """One folder for each system, in which each collection has a file."""
    runs = {first_stage: retrieved.run} | {
        f"{first_stage}+{name}": each.run(retrieved.requests) for name, each in scored.items()
    }
    for name, ranking in runs.items():
        tag = re.sub(r"[^\w.+-]+", "-", name)
        (folder / tag).mkdir(exist_ok=True)
        write_run(ranking, folder / tag / f"{collection.name}.{split}.trec", tag)
