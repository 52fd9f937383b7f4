"""One twin, from the command line to its folder."""

from __future__ import annotations

import argparse
import copy
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

from zen_fast.architectures import QUERY_INDEPENDENT
from zen_fast.arguments import positive_count, require_folders
from zen_fast.collection import load_target
from zen_fast.errors import InvalidArgumentError
from zen_fast.out_folder import require_writable
from zen_fast.train.device import set_up_torch
from zen_fast.train.export import export_model
from zen_fast.train.list_table import ListTable
from zen_fast.train.start import load_cross_encoder
from zen_fast.train.student.pattern import is_query_independent, set_attention_pattern
from zen_fast.train.token_table import TokenTable
from zen_fast.train.twin.distilling import Distillation
from zen_fast.train.twin.lists import read_lists, unjudged_lists, write_lists

_PRINT_EVERY = 50
# A run on another number of threads, or with its lists from a file now, is the same run.
_FREE_OPTIONS = ("threads", "lists")


def run(options: argparse.Namespace) -> list[float]:
    """Train and write; returns the loss of each step.

    Raises:
        ZenError: the model or a collection cannot be had, the model is no BERT with one label, or
            an interrupted run was given other options.
    """
    _require_sound(options)
    set_up_torch(options.device, options.threads)
    torch.manual_seed(options.seed)
    model, tokenizer = load_cross_encoder(options.model)
    if is_query_independent(model.config):
        raise InvalidArgumentError(f"{options.model} is query-independent already; name another")
    teacher: Any = model.to(options.device)
    twin = copy.deepcopy(teacher)
    set_attention_pattern(twin.config, QUERY_INDEPENDENT)
    lists = get_lists(options)
    longest = int(teacher.config.max_position_embeddings)
    max_length = min(options.max_length or longest, longest)
    distillation = Distillation(
        twin,
        teacher,
        lists,
        TokenTable(tokenizer, lists.texts, None, max_length, options.device),
        num_steps=options.steps,
        lists_per_step=options.lists_per_step,
        learning_rate=options.learning_rate,
        checkpoint=options.out.with_name(f"{options.out.name}.checkpoint.pt"),
        settings={
            name: str(value) for name, value in vars(options).items() if name not in _FREE_OPTIONS
        },
    )
    _run(distillation, options.steps)
    export_model(twin, tokenizer, options.out)
    return distillation.losses


def get_lists(options: argparse.Namespace) -> ListTable:
    """From the file that the options name, if it is there, else from the collections.

    Raises:
        InvalidArgumentError: there are neither, or numbers of queries do not fit the collections.
    """
    if _has_lists(options):
        return read_lists(options.lists)
    num_queries, num_statements = _numbers_for_lists(options)
    collections = [load_target(target) for target in options.data]
    rng = np.random.default_rng(options.seed)
    lists = unjudged_lists(collections, num_queries, num_statements, rng)
    if options.lists is not None:
        write_lists(options.lists, lists)
    return lists


def _require_sound(options: argparse.Namespace) -> None:
    """Raises InvalidArgumentError for what can be told before a model is loaded."""
    for name in ("steps", "lists_per_step"):
        positive_count(f"--{name.replace('_', '-')}", getattr(options, name))
    if options.max_length is not None:
        positive_count("--max-length", options.max_length)
    require_writable(options.out)
    if not _has_lists(options):
        _numbers_for_lists(options)


def _has_lists(options: argparse.Namespace) -> bool:
    return options.lists is not None and bool(options.lists.is_file())


def _numbers_for_lists(options: argparse.Namespace) -> tuple[list[int], list[int]]:
    """Queries and statements of each collection, of which lists can be made and written."""
    if not options.data:
        raise InvalidArgumentError(
            "there are no lists: name collections with --data, or a file of lists that was made of "
            "some with --lists"
        )
    require_folders([options.lists])
    return _of_each(options, "queries"), _of_each(options, "statements")


def _of_each(options: argparse.Namespace, name: str) -> list[int]:
    """An option's number for each collection."""
    counts: list[int] = getattr(options, name)
    if len(counts) == 1:
        return counts * len(options.data)
    if len(counts) != len(options.data):
        raise InvalidArgumentError(
            f"--{name} gives {len(counts)} numbers for {len(options.data)} collections; give one "
            "for all, or one for each"
        )
    return counts


def _run(distillation: Distillation, num_steps: int) -> None:
    losses = distillation.losses
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn()) as progress:
        bar = progress.add_task("distilling", total=num_steps, completed=len(losses))

        def advance() -> None:
            recent = fmean(losses[-20:])
            progress.update(bar, completed=len(losses), description=f"loss {recent:.3f}")
            if len(losses) % _PRINT_EVERY == 0:
                progress.console.print(f"step {len(losses)}: loss {recent:.4f}")

        distillation.run(advance)
