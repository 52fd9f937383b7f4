"""From collections and a base model to a work folder: start, tokenizer, candidate lists."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from zen_fast.collection import Collection, load_collection
from zen_fast.errors import InvalidArgumentError
from zen_fast.train.candidate_lists import CandidateList, RatedLists, rated_lists
from zen_fast.train.errors import ResumeError, TrainingDataError
from zen_fast.train.recipe import Recipe, Source
from zen_fast.train.resuming import changed_fields
from zen_fast.train.start import load_cross_encoder
from zen_fast.train.student.cutting import cut_encoder
from zen_fast.train.student.distillation import Embed, Embeddings
from zen_fast.train.student.following import apart_coordinates
from zen_fast.train.student.making import make_student
from zen_fast.train.student.material import Material
from zen_fast.train.student.pattern import set_attention_pattern
from zen_fast.train.teacher import RememberingTeacher, Scores, Teacher, make_teacher
from zen_fast.train.token_table import TokenTable
from zen_fast.train.vocabulary import (
    count_tokens,
    kept_token_ids,
    load_tokenizer,
    token_id,
    trim_tokenizer,
)

logger = logging.getLogger(__name__)

_BASE_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def prepare(
    recipe: Recipe, data: Path | None, base: Path | None, work: Path, device: str = "cpu"
) -> None:
    """Fill the work folder, or check that it was filled for the same recipe.

    The teacher runs, and a student is distilled, on `device`.

    Writes `train.npz`, `dev.npz`, `start/` (the model before training, and its tokenizer),
    `embeddings.npy` (the teacher's, of the training lists' texts) where a student is made or the
    recipe has an embedding_weight, `reader.npy` (logits of the training lists) where the sources
    have readers, and `recipe.json`, the last one at the end, so that its presence means that all is
    there. Until then `teacher.npz` keeps what the teacher has said, and `distillation.pt` how far
    the student is.

    Args:
        data, base: None will do where the folder is filled.

    Raises:
        TrainingDataError: data or base model is missing, or a collection is too small for one list.
        InvalidArgumentError: the recipe's start is not a model that can be trained, or not as wide
            as the base model whose embeddings it is to follow.
        ResumeError: the folder was prepared for a recipe that makes other lists or weights.
    """
    stamp = work / "recipe.json"
    if stamp.is_file():
        _check_same_recipe(json.loads(stamp.read_text(encoding="utf-8")), recipe, work)
        return
    if data is None or base is None:
        raise TrainingDataError(f"{work} is not prepared yet, which takes --data and --base")
    missing = [name for name in _BASE_FILES if not (base / name).is_file()]
    if missing:
        raise TrainingDataError(
            f"{base} is not a base model: {', '.join(missing)} missing; "
            "give a local folder of a BERT bi-encoder such as all-MiniLM-L6-v2"
        )
    work.mkdir(parents=True, exist_ok=True)
    if recipe.start is not None:  # first, because it is quick to fail
        start, tokenizer = load_cross_encoder(recipe.start, "auto")
        _check_width(recipe, start, base)
        _write_start(start, tokenizer, work)
    collections = {
        (name, split): load_collection(data / name, split).judged_documents_only()
        for name, split in dict.fromkeys(map(_collection_of, recipe.sources))
    }
    remembered, checkpoint = work / "teacher.npz", work / "distillation.pt"
    make = functools.cache(lambda: make_teacher(base, device, recipe.teacher_precision))
    teacher = RememberingTeacher(make, remembered)
    lists = _write_lists(recipe, collections, teacher, work, device)
    if recipe.start is None or recipe.embedding_weight:
        embeddings = teacher.embed(lists.table.texts).astype(np.float16)
        np.save(work / "embeddings.npy", embeddings)
        if recipe.start is None:
            read = list(collections.values())
            apart = _make_student(recipe, read, base, lists, make().embed, work, device)
        else:
            apart = _apart_coordinates(recipe, lists, embeddings, work)
        (work / "start" / "reserved.json").write_text(json.dumps(apart), encoding="utf-8")
    stamp.write_text(json.dumps(dataclasses.asdict(recipe), indent=2), encoding="utf-8")
    for path in (remembered, checkpoint):
        path.unlink(missing_ok=True)


def _check_same_recipe(prepared: dict[str, object], recipe: Recipe, work: Path) -> None:
    # A folder may be older than a field, and is then as if it had the default.
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    changed = changed_fields(defaults | prepared, recipe.preparing())
    if changed:
        raise ResumeError(
            f"{work} was prepared with other values of {changed}; "
            "choose another --work folder or remove this one"
        )


def _check_width(recipe: Recipe, start: BertForSequenceClassification, base: Path) -> None:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    width, wanted = start.config.hidden_size, config["hidden_size"]
    if recipe.embedding_weight and width != wanted:
        raise InvalidArgumentError(
            f"embedding_weight is {recipe.embedding_weight}, but {recipe.start} is {width} wide "
            f"and {base}, whose embeddings it is to follow, {wanted}; set it to 0, or give a base "
            "model as wide as the start"
        )


def _trim(recipe: Recipe, collections: list[Collection], base: Path) -> tuple[Tokenizer, list[int]]:
    """The student's tokenizer, and the base model's id of each of its tokens."""
    tokenizer = load_tokenizer(base / "tokenizer.json")
    texts = itertools.chain.from_iterable(
        itertools.chain((doc.full for doc in part.documents.values()), part.queries.values())
        for part in collections
    )
    counts = count_tokens(tokenizer, texts)
    kept = kept_token_ids(tokenizer, counts, recipe.vocabulary_size, recipe.general_weight)
    covered = sum(counts[old] for old in kept) / max(1, counts.total())
    logger.info(
        "vocabulary: %d of %d ids, %.2f%% of the training tokens unchanged",
        len(kept),
        tokenizer.get_vocab_size(),
        100 * covered,
    )
    return trim_tokenizer(tokenizer, kept), kept


def _make_student(
    recipe: Recipe,
    collections: list[Collection],
    base: Path,
    lists: RatedLists,
    embed: Embed,
    work: Path,
    device: str,
) -> list[int]:
    """Returns the hidden coordinates that mean something else than the embeddings' do."""
    tokenizer, kept = _trim(recipe, collections, base)
    torch.manual_seed(recipe.seed)
    encoder = cut_encoder(base, recipe.layers, kept, token_id(tokenizer, "[PAD]"))
    set_attention_pattern(encoder.config, recipe.attention_pattern)
    student, reserved = make_student(
        encoder,
        tokenizer,
        lists.as_lists(),
        Material(collections, recipe).draw,
        embed,
        recipe,
        device,
        work / "distillation.pt",
    )
    _write_start(student, tokenizer, work)
    return reserved.all


def _apart_coordinates(
    recipe: Recipe, lists: RatedLists, embeddings: Embeddings, work: Path
) -> list[int]:
    """The same of a model that is there."""
    start, tokenizer = load_cross_encoder(str(work / "start"))
    lengths = recipe.max_query_length, recipe.max_length
    tokens = TokenTable(tokenizer, lists.table.texts, *lengths)
    return apart_coordinates(start, tokens, lists.table, embeddings)


def _write_start(model: BertForSequenceClassification, tokenizer: Tokenizer, work: Path) -> None:
    model.save_pretrained(work / "start")
    tokenizer.save(str(work / "start" / "tokenizer.json"))


def _collection_of(source: Source) -> tuple[str, str]:
    return source.collection, source.split


def _write_lists(
    recipe: Recipe,
    collections: Mapping[tuple[str, str], Collection],
    teacher: Teacher,
    work: Path,
    device: str,
) -> RatedLists:
    """Returns the training lists."""
    # What a prepared folder does without: BM25, and an engine.
    from zen_fast.train.examples import ListBuilder
    from zen_fast.train.reader import read_lists

    rng = np.random.default_rng(recipe.seed)
    train: list[tuple[CandidateList, str | None]] = []
    dev: list[CandidateList] = []
    held_out: set[str] = set()  # two sources may be of one collection
    with Progress() as progress:
        for source in recipe.sources:
            collection = collections[_collection_of(source)]

            def embed(texts: Sequence[str], name: str = collection.name) -> Scores:
                task = progress.add_task(f"{name}: teacher reads", total=len(texts))
                return teacher.embed(texts, lambda count: progress.advance(task, count))

            builder = ListBuilder(collection, source, recipe, embed, rng, held_out)
            held_out |= builder.dev_queries
            train += [(item, source.reader) for item in builder.train_lists()]
            dev += builder.dev_lists()
            progress.console.print(f"{collection.name}: {len(train)} lists so far")
    rng.shuffle(train)
    lists = rated_lists([item for item, _ in train])
    lists.write(work / "train.npz")
    readers = [reader for _, reader in train if reader is not None]
    if readers:
        logits = read_lists(readers, lists.table, recipe, device)
        np.save(work / "reader.npy", logits.astype(np.float16))
    rated_lists(dev).write(work / "dev.npz")
    return lists
