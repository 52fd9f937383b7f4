"""One comparison from the command line to the report."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from zen_fast.arguments import require_folders
from zen_fast.bench.skip_work.features import EXACT, Feature, features
from zen_fast.bench.skip_work.options import SkipWorkOptions
from zen_fast.bench.skip_work.report import print_rows, write_curve
from zen_fast.bench.table import ReportConsole
from zen_fast.candidates import Request, answerable_queries, bm25_requests, sample_queries
from zen_fast.collection import Collection, load_target
from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.metrics import ndcg_at_10
from zen_fast.machine import describe_run
from zen_fast.standard_library import standard_library_collection

_PIPED_WIDTH = 130
"""Columns where no terminal says how many there are."""


@dataclass(frozen=True)
class Answer:
    """What one row made of one request."""

    milliseconds: float
    indices: tuple[int, ...]
    """The top k, by place in the candidates."""
    num_scored: int
    stopped: str


@dataclass(frozen=True)
class Row:
    """One row over one collection's requests."""

    collection: str
    name: str
    kind: str
    setting: float | None
    num_queries: int
    mean_ms: float
    median_ms: float
    saved_percent: float
    """Of the exact row's time, over all queries."""
    scored_percent: float
    """Candidates with a score."""
    overlap: float
    """Mean share of the exact top k that is in this one."""
    overlap_interval: tuple[float, float]
    """95 %, by resampling queries."""
    ndcg_at_10: float
    """x 100"""
    overshoot_p99_percent: float | None
    """Of a deadline: how much longer it took than allowed."""


def run(options: SkipWorkOptions, arguments: Sequence[str]) -> int:
    """Measure, print and write.

    Raises:
        ZenError: the model or a collection cannot be had.
    """
    require_folders((options.json_path, options.plot_path))
    compared = list(features(options))
    rows: list[Row] = []
    answers: dict[str, dict[str, list[Answer]]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        for collection in _collections(options):
            requests = _requests(collection, options)
            task = progress.add_task(collection.name, total=len(requests) * len(compared))
            answers[collection.name] = {}
            for request in requests:
                for feature, answer in _answers(compared, request):
                    answers[collection.name].setdefault(feature.name, []).append(answer)
                    progress.advance(task)
            rows += summarize(compared, collection, requests, answers[collection.name])
            if options.json_path is not None:  # after each, so that an interrupt loses little
                report = _report(options, arguments, rows, answers)
                options.json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot_path is not None:
        write_curve(rows, options.plot_path)
    print_rows(rows, ReportConsole(width=None if sys.stdout.isatty() else _PIPED_WIDTH))
    return 0


def _collections(options: SkipWorkOptions) -> Iterator[Collection]:
    if not options.data:
        yield standard_library_collection()
    yield from map(load_target, options.data)


def _requests(collection: Collection, options: SkipWorkOptions) -> list[Request]:
    answerable = answerable_queries(collection)
    query_ids = sample_queries(answerable, options.num_queries, options.seed)
    requests = bm25_requests(collection, query_ids, options.num_candidates)
    usable = [request for request in requests if len(request.documents) > options.k]
    if not usable:
        raise InvalidArgumentError(
            f"no query of {collection.name} has more than k={options.k} candidates"
        )
    return usable


def _answers(compared: Sequence[Feature], request: Request) -> Iterator[tuple[Feature, Answer]]:
    for feature in compared:
        started = time.perf_counter()
        ranking = feature.rank(request)
        milliseconds = 1000 * (time.perf_counter() - started)
        indices = tuple(document.index for document in ranking)
        work = ranking.work
        yield feature, Answer(milliseconds, indices, work.num_scored, work.stopped)


def summarize(
    compared: Sequence[Feature],
    collection: Collection,
    requests: Sequence[Request],
    answers: Mapping[str, Sequence[Answer]],
) -> list[Row]:
    """A row for each feature; quality and time are compared with the exact one."""
    exact = answers[EXACT]
    exact_ms = sum(answer.milliseconds for answer in exact)
    rows = []
    for feature in compared:
        given = answers[feature.name]
        times = np.array([answer.milliseconds for answer in given])
        overlaps = np.array(
            [
                len({*answer.indices} & {*best.indices}) / len(best.indices)
                for answer, best in zip(given, exact, strict=True)
            ]
        )
        run_by_query = {
            request.query_id: {
                request.document_ids[index]: -float(place)
                for place, index in enumerate(answer.indices)
            }
            for request, answer in zip(requests, given, strict=True)
        }
        num_candidates = sum(len(request.documents) for request in requests)
        rows.append(
            Row(
                collection.name,
                feature.name,
                feature.kind,
                feature.setting,
                len(requests),
                float(times.mean()),
                float(np.median(times)),
                100 * (1 - float(times.sum()) / exact_ms),
                100 * sum(answer.num_scored for answer in given) / num_candidates,
                float(overlaps.mean()),
                _interval(overlaps),
                100 * ndcg_at_10(collection.judgements, run_by_query),
                _overshoot(feature, times),
            )
        )
    return rows


def _interval(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def _overshoot(feature: Feature, times: np.ndarray[Any, np.dtype[np.float64]]) -> float | None:
    if feature.kind != "deadline" or feature.setting is None:
        return None
    return 100 * (float(np.quantile(times, 0.99)) / feature.setting - 1)


def _report(
    options: SkipWorkOptions,
    arguments: Sequence[str],
    rows: Sequence[Row],
    answers: Mapping[str, Mapping[str, Sequence[Answer]]],
) -> dict[str, Any]:
    return {
        **describe_run(["python", "-m", "zen_fast.bench", *arguments]),
        "model": options.model,
        "precision": options.precision,
        "threads": options.num_threads,
        "num_candidates": options.num_candidates,
        "k": options.k,
        "seed": options.seed,
        "rows": [asdict(row) for row in rows],
        "milliseconds": {
            collection: {
                name: [round(answer.milliseconds, 3) for answer in given]
                for name, given in by_name.items()
            }
            for collection, by_name in answers.items()
        },
    }
