"""One twin, from the command line to its folder."""

from __future__ import annotations

import argparse
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from zen_fast.architectures import ATTENTION_PATTERN, QUERY_INDEPENDENT
from zen_fast.checkpoint.location import locate
from zen_fast.collection import load_target
from zen_fast.engine import Engine
from zen_fast.errors import InvalidArgumentError
from zen_fast.reranker import ZenReranker
from zen_fast.train.export import export_model
from zen_fast.train.twin.distilling import CHECKPOINT_EVERY, Distillation
from zen_fast.train.twin.lists import unjudged_lists


def run(options: argparse.Namespace) -> list[float]:
    """Train and write; returns the loss of each step.

    Raises:
        ZenError: the model or a collection cannot be had, the model is no BERT with one label, or
            an interrupted run was given other options.
    """
    folder = locate(options.model)
    teacher = ZenReranker.from_pretrained(
        options.model, max_length=options.max_length, num_threads=options.threads
    ).engine
    assert isinstance(teacher, Engine)  # on one CPU
    spec = teacher.spec
    if spec.architecture != "bert" or spec.head.num_labels != 1 or spec.query_independent:
        raise InvalidArgumentError(
            f"{options.model} is not a BERT cross-encoder with one label that reads queries with "
            "their documents; others have no twin yet"
        )
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)  # AdamW's moments fade into denormals
    twin: Any = BertForSequenceClassification.from_pretrained(str(folder), dtype=torch.float32)
    collections = [load_target(target) for target in options.data]
    lists = unjudged_lists(collections, options.queries, np.random.default_rng(options.seed))
    distillation = Distillation(
        twin,
        teacher,
        lists,
        options.steps,
        options.learning_rate,
        checkpoint=options.out.with_name(f"{options.out.name}.checkpoint.pt"),
        settings={name: str(value) for name, value in vars(options).items() if name != "threads"},
    )
    losses = distillation.losses
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("distilling", total=options.steps, completed=len(losses))

        def advance() -> None:
            recent = fmean(losses[-20:])
            progress.update(bar, completed=len(losses), description=f"loss {recent:.3f}")
            if len(losses) % CHECKPOINT_EVERY == 0:
                progress.console.print(f"step {len(losses)}: loss {recent:.4f}")

        distillation.run(advance)
    setattr(twin.config, ATTENTION_PATTERN, QUERY_INDEPENDENT)
    export_model(twin, Tokenizer.from_file(str(folder / "tokenizer.json")), options.out)
    return losses
