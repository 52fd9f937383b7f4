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
from tokenizers import Tokenizer

from zen_fast.collection import Collection, load_collection
from zen_fast.train.errors import ResumeError, TrainingDataError
from zen_fast.train.examples import (
    CandidateList,
    ListBuilder,
    read_lists,
    texts_of,
    write_lists,
)
from zen_fast.train.passages import Scores
from zen_fast.train.recipe import Recipe
from zen_fast.train.student.cutting import cut_encoder
from zen_fast.train.student.making import make_student
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

    The teacher runs, and the student is distilled, on `device`.

    Writes `train.jsonl`, `dev.jsonl`, `embeddings.npy` (the teacher's, of the training lists'
    texts), `start/` (the student before training, and its tokenizer) and `recipe.json`, the last
    one at the end, so that its presence means that all is there.

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
    work.mkdir(parents=True, exist_ok=True)
    _write_lists(recipe, collections, Teacher(base, device), work)
    tokenizer, kept = _trim(recipe, collections, base)
    _write_student(recipe, base, tokenizer, kept, work, device)
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


def _trim(recipe: Recipe, collections: list[Collection], base: Path) -> tuple[Tokenizer, list[int]]:
    """The student's tokenizer, and the base model's id of each of its tokens."""
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
    return trim_tokenizer(tokenizer, kept), kept


def _write_student(
    recipe: Recipe, base: Path, tokenizer: Tokenizer, kept: list[int], work: Path, device: str
) -> None:
    torch.manual_seed(recipe.seed)
    lists = read_lists(work / "train.jsonl")
    embeddings = np.load(work / "embeddings.npy", mmap_mode="r")
    encoder = cut_encoder(base, recipe.layers, kept, token_id(tokenizer, "[PAD]"))
    student, reserved = make_student(encoder, tokenizer, lists, embeddings, recipe, device)
    student.save_pretrained(work / "start")
    tokenizer.save(str(work / "start" / "tokenizer.json"))
    (work / "start" / "reserved.json").write_text(json.dumps(reserved.all), encoding="utf-8")


def _write_lists(
    recipe: Recipe, collections: list[Collection], teacher: Teacher, work: Path
) -> None:
    rng = np.random.default_rng(recipe.seed)
    train: list[CandidateList] = []
    dev: list[CandidateList] = []
    read: dict[str, Scores] = {}
    with Progress() as progress:
        for source, collection in zip(recipe.sources, collections, strict=True):

            def embed(texts: Sequence[str], name: str = collection.name) -> Scores:
                task = progress.add_task(f"{name}: teacher reads", total=len(texts))
                embeddings = teacher.embed(texts, lambda count: progress.advance(task, count))
                read.update(zip(texts, embeddings, strict=True))
                return embeddings

            builder = ListBuilder(collection, source, recipe, embed, rng)
            train += builder.train_lists()
            dev += builder.dev_lists()
            progress.console.print(f"{collection.name}: {len(train)} lists so far")
    rng.shuffle(train)
    write_lists(work / "train.jsonl", train)
    rows = [read[text].astype(np.float16) for text in texts_of(train)]
    np.save(work / "embeddings.npy", np.stack(rows))
    write_lists(work / "dev.jsonl", dev)
