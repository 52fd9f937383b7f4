"""One scaling from the command line to the folder."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from zen_fast.arguments import positive_count, require_folders
from zen_fast.checkpoint import load_checkpoint
from zen_fast.checkpoint.scaled import require_scalable, save_scaled
from zen_fast.machine import describe_run
from zen_fast.out_folder import require_writable
from zen_fast.platt.fitting import LabelledLogits, Scaling, fit_scaling
from zen_fast.platt.sample import requests_of, score
from zen_fast.progress import ProgressBar
from zen_fast.reranker import ZenReranker
from zen_fast.standard_library import load_texts


def run(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Score, fit, write, and print what the scaling changes.

    Raises:
        ZenError: the model or a collection cannot be had, or the logits cannot be made log odds.
    """
    # All before what takes minutes.
    positive_count("--queries", options.queries)
    require_folders([options.json])
    require_writable(options.out)
    checkpoint = load_checkpoint(options.model)
    require_scalable(checkpoint, options.out)
    fitted, held_out = _scored(options)
    scaling = fit_scaling(fitted)
    num_bytes = save_scaled(checkpoint, scaling.slope, scaling.level, options.out)
    _table(scaling, fitted, held_out)
    print(
        f"wrote {options.out}: weights of {num_bytes / 1e6:.1f} MB, "
        f"logits {scaling.slope:.3f} times as large{scaling.level:+.3f}"
    )
    if options.json is not None:
        report = _report(scaling, fitted, held_out, arguments)
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


def _scored(options: argparse.Namespace) -> tuple[list[LabelledLogits], list[LabelledLogits]]:
    """The samples to fit, and those held out."""
    reranker = ZenReranker.from_pretrained(
        options.model,
        precision=options.precision,
        num_threads=options.threads,
        activation="identity",
    )
    targets = [*options.data, *options.held_out]
    collections = [load_texts(target) for target in targets]
    requests = [requests_of(each, options.queries, options.seed) for each in collections]
    with ProgressBar(sum(map(len, requests)), show=None) as bar:

        def logits(query: str, documents: Sequence[str]) -> NDArray[np.float32]:
            bar.advance(1)
            return reranker.score(query, documents)

        samples = [
            score(target, collection, some, logits)
            for target, collection, some in zip(targets, collections, requests, strict=True)
        ]
    count = len(options.data)
    return samples[:count], samples[count:]


def _table(
    scaling: Scaling, fitted: Sequence[LabelledLogits], held_out: Sequence[LabelledLogits]
) -> None:
    table = Table(title=f"loss in nats; {math.log(2):.3f} if every score were 0.5")
    for title in ("collection", "queries", "candidates", "before", "scaled"):
        table.add_column(title, justify="left" if title == "collection" else "right")
    for kind, samples in (("fitted", fitted), ("held out", held_out)):
        for sample in samples:
            table.add_row(
                f"{sample.name} ({kind})",
                str(sample.num_queries),
                str(len(sample.logits)),
                f"{Scaling().loss(sample):.3f}",
                f"{scaling.loss(sample):.3f}",
            )
    Console().print(table)


def _report(
    scaling: Scaling,
    fitted: Sequence[LabelledLogits],
    held_out: Sequence[LabelledLogits],
    arguments: Sequence[str],
) -> Mapping[str, Any]:
    def losses(sample: LabelledLogits) -> Mapping[str, Any]:
        return {
            "collection": sample.name,
            "num_queries": sample.num_queries,
            "num_candidates": len(sample.logits),
            "loss_before": Scaling().loss(sample),
            "loss_scaled": scaling.loss(sample),
        }

    return {
        **describe_run(["zen-fast", "platt", *arguments]),
        "measure": "mean negative log likelihood in nats, relevant and other candidates alike",
        "slope": scaling.slope,
        "level": scaling.level,
        "fitted": [losses(each) for each in fitted],
        "held_out": [losses(each) for each in held_out],
    }
