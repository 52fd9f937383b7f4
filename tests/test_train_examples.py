"""Candidate lists made from a collection."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.examples import CandidateList, ListBuilder, read_lists, write_lists
from zen_fast.train.recipe import Recipe, Source, load_recipe

_NUM_DOCUMENTS = 40
_TOPICS = ("glacier", "engine", "poem", "virus")


@pytest.fixture
def recipe() -> Recipe:
    return load_recipe("zen-mini")


@pytest.fixture
def collection() -> Collection:
    documents = {
        f"d{index}": CollectionDocument(
            f"{_TOPICS[index % 4]} {index // 8}",
            f"The {_TOPICS[index % 4]} number {index} is described here in plain words. "
            f"It was found by team {index} in the year {1900 + index}. "
            f"Nobody knows why {_TOPICS[index % 4]} {index} looks the way that it does.",
        )
        for index in range(_NUM_DOCUMENTS)
    }
    queries = {f"q{index}": f"Who found {_TOPICS[index % 4]} {index}?" for index in range(20)}
    judgements = {f"q{index}": {f"d{index}": 1, f"d{index + 20}": 0} for index in range(20)}
    return Collection("toy", documents, queries, judgements)


def _builder(collection: Collection, recipe: Recipe, seed: int = 0) -> ListBuilder:
    source = Source("toy", 0, num_questions=100, num_cloze=10, num_dev_queries=5)
    return ListBuilder(collection, source, recipe, np.random.default_rng(seed))


def _check_shape(lists: list[CandidateList], recipe: Recipe) -> None:
    for item in lists:
        assert len(item.documents) == len(item.grades) == recipe.num_candidates
        assert len(set(item.document_keys)) == recipe.num_candidates
        assert item.grades[0] == 1
        assert not any(item.grades[1:])
        assert all(item.documents)


def test_question_lists_hold_one_relevant_document_each(
    collection: Collection, recipe: Recipe
) -> None:
    lists = _builder(collection, recipe).question_lists()
    assert len(lists) == 15
    _check_shape(lists, recipe)


def test_cloze_lists_take_sentence_out_of_its_document(
    collection: Collection, recipe: Recipe
) -> None:
    lists = _builder(collection, recipe).cloze_lists()
    assert len(lists) == 10
    _check_shape(lists, recipe)
    whole = Counter(item.query in item.documents[0] for item in lists)
    assert whole[False] > whole[True]


def test_dev_lists_are_held_out_and_contain_their_answer(
    collection: Collection, recipe: Recipe
) -> None:
    builder = _builder(collection, recipe)
    dev = builder.dev_lists()
    answers = {key for item in builder.question_lists() for key in item.document_keys[:1]}
    assert len(dev) == 5
    for item in dev:
        assert max(item.grades) == 1
        assert item.document_keys[item.grades.index(1)] not in answers


def test_lists_of_a_collection_too_small_raise(collection: Collection, recipe: Recipe) -> None:
    few = {f"d{index}": collection.documents[f"d{index}"] for index in range(recipe.num_candidates)}
    exactly_enough = dataclasses.replace(collection, documents=few)
    assert len(_builder(exactly_enough, recipe).question_lists()) == 3
    del few[f"d{recipe.num_candidates - 1}"]
    builder = _builder(dataclasses.replace(collection, documents=few), recipe)
    for build in (builder.question_lists, builder.cloze_lists):
        with pytest.raises(TrainingDataError, match=r"'toy' has 6 .*num_candidates=8 needs 7"):
            build()


def test_dev_lists_keep_every_answer_where_there_are_more_than_candidates(
    collection: Collection, recipe: Recipe
) -> None:
    grades = {f"d{index}": 1 for index in range(20)}
    many = dataclasses.replace(collection, judgements=dict.fromkeys(collection.queries, grades))
    builder = _builder(many, dataclasses.replace(recipe, dev_candidates=4))
    for item in builder.dev_lists():
        answers = [key for key, grade in zip(item.document_keys, item.grades, strict=True) if grade]
        assert len(answers) == 20
        assert len(set(item.document_keys)) == len(item.document_keys)


def test_list_builder_same_seed_same_lists(collection: Collection, recipe: Recipe) -> None:
    first, second = (_builder(collection, recipe, seed=3).question_lists() for _ in range(2))
    assert first == second


def test_judged_documents_only_drops_documents_of_other_splits(collection: Collection) -> None:
    two = {key: collection.judgements[key] for key in ("q0", "q1")}
    train = Collection("toy", collection.documents, collection.queries, two)
    assert set(train.judged_documents_only().documents) == {"d0", "d1", "d20", "d21"}


def test_read_lists_returns_what_was_written(
    collection: Collection, recipe: Recipe, tmp_path
) -> None:
    lists = _builder(collection, recipe).question_lists()
    write_lists(tmp_path / "lists.jsonl", lists)
    assert read_lists(tmp_path / "lists.jsonl") == lists
