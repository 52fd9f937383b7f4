"""From collections and a base model to a work folder: student, tokenizer, candidate lists."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

from zen_fast.collection import Collection, load_collection
from zen_fast.train.errors import ResumeError, TrainingDataError
from zen_fast.train.examples import CandidateList, ListBuilder, write_lists
from zen_fast.train.passages import Scores
from zen_fast.train.recipe import Recipe
from zen_fast.train.student import cut_student
from zen_fast.train.teacher import Teacher
from zen_fast.train.vocabulary import (
    count_tokens,
    kept_token_ids,
    load_tokenizer,
    token_id,
    trim_tokenizer,
)

logger = logging.getLogger(__name__)

_BASE_FILES = ("config.json", "model.safetensors", "tokenizer.json")
# Settings of the optimizer may change between sessions of one run; these may not.
_FREE_FIELDS = ("num_steps", "decay_steps", "dev_every", "checkpoint_every", "pairs_per_forward")


def prepare(recipe: Recipe, data: Path, base: Path, work: Path, device: str = "cpu") -> None:
    """Fill the work folder, or check that it was filled for the same recipe.

    The teacher runs on `device`.

    Writes `start/` (the untrained student and its tokenizer), `train.jsonl`, `dev.jsonl` and
    `recipe.json`, the last one at the end, so that its presence means that all is there.

    Raises:
        TrainingDataError: the base model is missing, or a collection is too small for one list.
        ResumeError: the folder was prepared for a recipe that makes other lists or weights.
    """
    stamp = work / "recipe.json"
    if stamp.is_file():
        _check_same_recipe(json.loads(stamp.read_text(encoding="utf-8")), recipe, work)
        return
    missing = [name for name in _BASE_FILES if not (base / name).is_file()]
    if missing:
        raise TrainingDataError(
            f"{base} is not a base model: {', '.join(missing)} missing; "
            "give a local folder of a BERT bi-encoder such as all-MiniLM-L6-v2"
        )
    collections = [
        load_collection(data / source.collection, source.split).judged_documents_only()
        for source in recipe.sources
    ]
    (work / "start").mkdir(parents=True, exist_ok=True)
    _write_student(recipe, collections, base, work / "start")
    _write_lists(recipe, collections, Teacher(base, device), work)
    stamp.write_text(json.dumps(asdict(recipe), indent=2), encoding="utf-8")


def _check_same_recipe(prepared: dict[str, object], recipe: Recipe, work: Path) -> None:
    wanted = json.loads(json.dumps(asdict(recipe)))
    changed = [
        name for name in wanted if name not in _FREE_FIELDS and prepared.get(name) != wanted[name]
    ]
    if changed:
        raise ResumeError(
            f"{work} was prepared with other values of {changed}; "
            "choose another --work folder or remove this one"
        )


def _write_student(recipe: Recipe, collections: list[Collection], base: Path, folder: Path) -> None:
    tokenizer = load_tokenizer(base / "tokenizer.json")
    texts = itertools.chain.from_iterable(
        itertools.chain((doc.full for doc in part.documents.values()), part.queries.values())
        for part in collections
    )
    counts = count_tokens(tokenizer, texts)
    kept = kept_token_ids(tokenizer, counts, recipe.vocabulary_size)
    covered = sum(counts[old] for old in kept) / max(1, counts.total())
    logger.info(
        "vocabulary: %d of %d ids, %.2f%% of the training tokens unchanged",
        len(kept),
        tokenizer.get_vocab_size(),
        100 * covered,
    )
    trimmed = trim_tokenizer(tokenizer, kept)
    trimmed.save(str(folder / "tokenizer.json"))
    torch.manual_seed(recipe.seed)
    student = cut_student(base, recipe.layers, kept, token_id(trimmed, "[PAD]"))
    student.save_pretrained(folder)


def _write_lists(
    recipe: Recipe, collections: list[Collection], teacher: Teacher, work: Path
) -> None:
    rng = np.random.default_rng(recipe.seed)
    train: list[CandidateList] = []
    dev: list[CandidateList] = []
    with Progress() as progress:
        for source, collection in zip(recipe.sources, collections, strict=True):

            def embed(texts: Sequence[str], name: str = collection.name) -> Scores:
                task = progress.add_task(f"{name}: teacher reads", total=len(texts))
                return teacher.embed(texts, lambda count: progress.advance(task, count))

            builder = ListBuilder(collection, source, recipe, embed, rng)
            train += builder.train_lists()
            dev += builder.dev_lists()
            progress.console.print(f"{collection.name}: {len(train)} lists so far")
    rng.shuffle(train)
    write_lists(work / "train.jsonl", train)
    write_lists(work / "dev.jsonl", dev)
