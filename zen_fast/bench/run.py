"""One run from the command line to the report."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from zen_fast.arguments import require_folders
from zen_fast.bench.device import require_device
from zen_fast.bench.engines import EngineOptions, engine_rows
from zen_fast.bench.gate import require_known_precisions, tolerances
from zen_fast.bench.measure import Limits, measure
from zen_fast.bench.models import BenchModel, open_model
from zen_fast.bench.options import BenchOptions
from zen_fast.bench.plot import write_plot
from zen_fast.bench.random_model import SHAPES, write_random_model
from zen_fast.bench.summary import summarize
from zen_fast.bench.table import ReportConsole, print_profiles, print_report
from zen_fast.bench.workloads import CUT_TEXT, Workload, cut_text, ranking, requests_per_turn
from zen_fast.checkpoint.location import locate
from zen_fast.collection import Collection, load_collection
from zen_fast.machine import describe_run
from zen_fast.standard_library import standard_library_collection

_FORMAT = 1
_REPORTING_SECONDS = 3.0
_MAX_TURNS = 300
"""Turns prepared where time decides how many are taken: steady percentiles need no more."""


def run(options: BenchOptions, arguments: Sequence[str]) -> int:
    """Measure, print and write; 1 where an engine was refused, else 0.

    Raises:
        ZenError: the inputs cannot be had, or an engine failed.
    """
    started = time.perf_counter()
    require_known_precisions(options.precisions)
    require_device(options.device, options.precisions)
    rows = engine_rows(options.engines, options.precisions)
    require_folders((options.json_path, options.plot_path))
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, console=Console(stderr=True)) as progress,
        tempfile.TemporaryDirectory(prefix="zen-fast-bench-") as scratch,
    ):
        task = progress.add_task("prepare inputs", total=3)
        collection = _collection(options)
        progress.advance(task)
        model = _model(options, collection, Path(scratch))
        progress.advance(task)
        workload = _workload(options, collection, model)
        progress.advance(task)
        measurement = measure(
            workload,
            rows,
            EngineOptions(
                str(model.folder),
                options.num_threads,
                options.device,
                "fp32",
                model.pair_tokenizer.max_length,
            ),
            tolerances(model.random_weights),
            Limits(started + options.seconds - _REPORTING_SECONDS, options.num_queries),
            progress,
        )
        summary = summarize(measurement, model, collection.judgements if workload.judged else None)
    report = _context(options, arguments, collection, model) | summary
    if options.json_path is not None:
        options.json_path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot_path is not None:
        write_plot(report, options.plot_path)
    console = ReportConsole()
    print_report(report, console)
    if options.profile:
        print_profiles(report, console)
    return int(any(row["refused"] for row in report["rows"]))


def _collection(options: BenchOptions) -> Collection:
    if options.data is None:
        return standard_library_collection()
    return load_collection(options.data, options.split)


def _model(options: BenchOptions, collection: Collection, scratch: Path) -> BenchModel:
    shape = SHAPES.get(options.model)
    if shape is None or Path(options.model).is_dir():
        return open_model(locate(options.model), Path(options.model).name)
    texts = [document.full for document in collection.documents.values()]
    write_random_model(scratch, shape, texts, options.seed)
    return open_model(scratch, options.model, random_weights=True)


def _workload(options: BenchOptions, collection: Collection, model: BenchModel) -> Workload:
    rng = random.Random(options.seed)
    num_warm_up = requests_per_turn(options.workload)
    num_requests = num_warm_up + (options.num_queries or _MAX_TURNS * num_warm_up)
    if options.workload in CUT_TEXT:
        return cut_text(
            options.workload,
            collection,
            model.tokenizer,
            num_requests,
            options.num_candidates,
            rng,
        )
    return ranking(collection, num_requests, options.num_candidates, rng)


def _context(
    options: BenchOptions, arguments: Sequence[str], collection: Collection, model: BenchModel
) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        **describe_run(["python", "-m", "zen_fast.bench", *arguments]),
        "threads": options.num_threads,
        "device": options.device,
        "seed": options.seed,
        "model": {
            "name": model.name,
            "random_weights": model.random_weights,
            "architecture": model.spec.architecture,
            "num_layers": model.spec.num_layers,
            "hidden_size": model.spec.hidden_size,
            "num_heads": model.spec.num_heads,
            "intermediate_size": model.spec.intermediate_size,
        },
        "workload": options.workload,
        "num_candidates": options.num_candidates,
        "collection": collection.name,
    }
