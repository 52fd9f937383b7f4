"""One calibration from the command line to the file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from zen_fast.arguments import require_folders
from zen_fast.candidates import Request, bm25_requests, sample_queries
from zen_fast.checkpoint.location import EMBEDDED_MODELS_FOLDER, locate
from zen_fast.early_stop.calibrating import calibrate, probe_layers
from zen_fast.early_stop.calibration import Calibration
from zen_fast.early_stop.choosing import candidates
from zen_fast.early_stop.sample import ScoredList, score_list
from zen_fast.early_stop.storing import FILE_NAME, checkpoint_fingerprint, save_calibration
from zen_fast.engine import Engine
from zen_fast.errors import InvalidArgumentError
from zen_fast.reranker import ZenReranker
from zen_fast.standard_library import load_texts


def run(options: argparse.Namespace) -> int:
    """Score, fit, write, and print what it promises.

    Raises:
        ZenError: the model or a collection cannot be had, or there is too little to fit to.
    """
    folder = locate(options.model)
    out = options.out or _beside(folder)
    require_folders([out])
    reranker = ZenReranker.from_pretrained(
        options.model, precision=options.precision, num_threads=options.threads
    )
    engine = _engine(reranker)
    requests = [each for target in options.data for each in _requests(target, options)]
    if not requests:
        raise InvalidArgumentError(
            f"none of the queries of {', '.join(options.data)} has two candidates; name a larger "
            "collection"
        )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        scoring = progress.add_task("scoring: queries", total=len(requests))
        lists = []
        for collection, request in requests:
            lists.append(_score(reranker, collection, request))
            progress.advance(scoring)
        fitting = progress.add_task(
            "fitting: allowances", total=sum(1 for _ in candidates(bool(probe_layers(engine))))
        )
        calibration = calibrate(
            lists,
            engine.spec,
            checkpoint_fingerprint(folder),
            lambda count: progress.advance(fitting, count),
        )
    save_calibration(calibration, out)
    _print(calibration, out)
    return 0


def _beside(folder: Path) -> Path:
    """Where `from_pretrained` looks, unless that would replace what the package brings.

    Raises:
        InvalidArgumentError: the model ships with the package.
    """
    if folder.resolve().is_relative_to(EMBEDDED_MODELS_FOLDER.resolve()):
        raise InvalidArgumentError(
            f"{folder.name} ships with the package, whose own calibration stays: pass --out FILE, "
            'and use it by from_pretrained(..., calibration="FILE")'
        )
    return folder / FILE_NAME


def _requests(target: str, options: argparse.Namespace) -> Iterator[tuple[str, Request]]:
    collection = load_texts(target)
    query_ids = sample_queries(sorted(collection.queries), options.queries, options.seed)
    for request in bm25_requests(collection, query_ids, options.depth):
        if len(request.documents) > 1:
            yield collection.name, request


def _engine(reranker: ZenReranker) -> Engine:
    assert isinstance(reranker.engine, Engine)  # on one CPU
    return reranker.engine


def _score(reranker: ZenReranker, collection: str, request: Request) -> ScoredList:
    """Of the very sequences that `rerank` reads."""
    engine = _engine(reranker)
    query, instruction = reranker.prompted(request.query)
    queries = [query] * len(request.documents)
    pairs = engine.encode(queries, request.documents, instruction).sequences
    return score_list(engine, collection, pairs, probe_layers(engine))


def _print(calibration: Calibration, out: Path) -> None:
    table = Table(title=f"wrote {out}")
    for title in ("k", "early_stop", "wave", "stop at", "give up"):
        table.add_column(title, justify="right")
    for each in calibration.allowances:
        table.add_row(
            str(each.k), f"{each.share:g}", str(each.wave), f"{each.breadth:g}", f"{each.depth:g}"
        )
    Console().print(table)
    if calibration.probe is not None:
        Console().print(f"candidates are given up after layer {calibration.probe.num_layers}")
