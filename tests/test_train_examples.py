"""Candidate lists made from a collection."""

import dataclasses
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.candidate_lists import CandidateList, RatedLists, rated_lists
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.examples import ListBuilder
from zen_fast.train.recipe import Recipe, Source, load_recipe
from zen_fast.train.teacher import Scores

_NUM_DOCUMENTS = 40
_TOPICS = ("glacier", "engine", "poem", "virus")
_ALPHABET = string.ascii_lowercase + string.digits


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


def _letters(texts: Sequence[str]) -> Scores:
    """Unit vectors of letter counts, in place of the teacher."""
    counts = [[text.lower().count(letter) + 1 for letter in _ALPHABET] for text in texts]
    vectors = np.asarray(counts, np.float32).reshape(len(texts), len(_ALPHABET))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _builder(
    collection: Collection, recipe: Recipe, seed: int = 0, **settings: object
) -> ListBuilder:
    source = Source("toy", 0, num_questions=100, num_cloze=10, num_dev_queries=5)
    source = dataclasses.replace(source, **settings)
    return ListBuilder(collection, source, recipe, _letters, np.random.default_rng(seed))


def _source_of(passage: str, collection: Collection) -> set[str]:
    """Documents that a passage may have been cut from."""
    return {key for key, document in collection.documents.items() if passage in document.full}


def test_train_lists_hold_one_relevant_passage_each(collection: Collection, recipe: Recipe) -> None:
    lists = _builder(collection, recipe).train_lists()
    assert len(lists) == 15 + 10
    for item in lists:
        columns = (item.documents, item.grades, item.cosines, item.bm25)
        assert {len(column) for column in columns} == {recipe.num_candidates}
        assert len(set(item.documents)) == recipe.num_candidates
        assert item.grades == [1] + [0] * (recipe.num_candidates - 1)
        assert all(item.documents)


def test_train_lists_rate_the_passage_that_is_shown(collection: Collection, recipe: Recipe) -> None:
    for item in _builder(collection, recipe).train_lists():
        (query,) = _letters([item.query])
        np.testing.assert_allclose(item.cosines, _letters(item.documents) @ query, atol=1e-4)
        assert 0.0 <= min(item.bm25) <= max(item.bm25) <= 1.0


def test_question_lists_hold_the_recipes_number_of_passages_of_the_relevant_document(
    collection: Collection, recipe: Recipe
) -> None:
    plain = dataclasses.replace(recipe, keyword_share=0.0, title_share=0.0, passage_words=(8,))
    text_to_id = {text: query_id for query_id, text in collection.queries.items()}
    questions = [
        item for item in _builder(collection, plain).train_lists() if item.query in text_to_id
    ]
    assert len(questions) == 15
    for item in questions:
        (answer,) = (
            key for key, grade in collection.judgements[text_to_id[item.query]].items() if grade
        )
        assert answer in _source_of(item.documents[0], collection)
        others = [text for text in item.documents[1:] if _source_of(text, collection) == {answer}]
        assert len(others) == recipe.num_siblings == 1


def test_train_lists_hold_passages_that_share_no_word_with_the_query(
    collection: Collection, recipe: Recipe
) -> None:
    wordless_only = dataclasses.replace(
        recipe, num_siblings=0, num_bm25=0, num_dense=0, num_wordless=3, num_random=0
    )
    for item in _builder(collection, wordless_only).train_lists():
        assert max(item.bm25[1:]) < 0.1 < item.bm25[0]


def test_cloze_lists_never_show_the_sentence_asked_for(
    collection: Collection, recipe: Recipe
) -> None:
    plain = dataclasses.replace(recipe, keyword_share=0.0, title_share=0.0)
    lists = _builder(collection, plain).train_lists()[15:]
    assert len(lists) == 10
    for item in lists:
        (source,) = _source_of(item.query, collection)
        assert source in _source_of(item.documents[0], collection)
        assert not any(item.query in text for text in item.documents)


def test_dev_lists_are_held_out_and_contain_their_answer(
    collection: Collection, recipe: Recipe
) -> None:
    builder = _builder(collection, dataclasses.replace(recipe, keyword_share=0.0))
    dev = builder.dev_lists()
    asked = {item.query for item in builder.train_lists()}
    text_to_id = {text: query_id for query_id, text in collection.queries.items()}
    assert len(dev) == 5
    for item in dev:
        assert item.query not in asked
        (answer,) = (text for text, grade in zip(item.documents, item.grades, strict=True) if grade)
        grades = collection.judgements[text_to_id[item.query]]
        assert [
            key for key, document in collection.documents.items() if document.full == answer
        ] == [key for key, grade in grades.items() if grade]


def test_queries_that_another_source_holds_out_are_not_trained_on(
    collection: Collection, recipe: Recipe
) -> None:
    plain = dataclasses.replace(recipe, keyword_share=0.0)
    held_out = _builder(collection, plain, num_cloze=0).dev_queries
    other = Source("toy", 0, num_questions=100, num_cloze=0)
    arguments = (collection, other, plain, _letters, np.random.default_rng(1))
    asked = {item.query for item in ListBuilder(*arguments).train_lists()}
    assert len(held_out) == 5
    assert held_out < asked
    asked = {item.query for item in ListBuilder(*arguments, held_out).train_lists()}
    assert len(asked) == 15
    assert not held_out & asked


def test_train_lists_of_a_collection_too_small_raise(
    collection: Collection, recipe: Recipe
) -> None:
    one_passage_each = dataclasses.replace(recipe, passage_words=(1000,))
    few = {f"d{index}": collection.documents[f"d{index}"] for index in range(recipe.num_candidates)}
    exactly_enough = dataclasses.replace(collection, documents=few)
    assert len(_builder(exactly_enough, one_passage_each).train_lists()) == len(few) - 5
    del few[f"d{recipe.num_candidates - 1}"]
    builder = _builder(dataclasses.replace(collection, documents=few), one_passage_each)
    with pytest.raises(
        TrainingDataError, match=rf"'toy' has {len(few)} passages.* needs \d others"
    ):
        builder.train_lists()


def test_dev_lists_keep_every_answer_where_there_are_more_than_candidates(
    collection: Collection, recipe: Recipe
) -> None:
    grades = {f"d{index}": 1 for index in range(20)}
    many = dataclasses.replace(collection, judgements=dict.fromkeys(collection.queries, grades))
    builder = _builder(many, dataclasses.replace(recipe, dev_candidates=4))
    for item in builder.dev_lists():
        assert sum(item.grades) == 20
        assert len(set(item.documents)) == len(item.documents)


def test_list_builder_same_seed_same_lists(collection: Collection, recipe: Recipe) -> None:
    first, second = (_builder(collection, recipe, seed=3).train_lists() for _ in range(2))
    assert first == second


def test_judged_documents_only_drops_documents_of_other_splits(collection: Collection) -> None:
    two = {key: collection.judgements[key] for key in ("q0", "q1")}
    train = Collection("toy", collection.documents, collection.queries, two)
    assert set(train.judged_documents_only().documents) == {"d0", "d1", "d20", "d21"}


def test_source_has_its_own_passage_words_and_title_share(
    collection: Collection, recipe: Recipe
) -> None:
    whole = {document.full for document in collection.documents.values()}
    builder = _builder(collection, recipe, num_cloze=0, passage_words=(1000,), title_share=1.0)
    lists = builder.train_lists()
    assert len(lists) == 15
    assert all(text in whole for item in lists for text in item.documents)


def test_train_lists_leave_out_what_the_teacher_puts_above_the_answer(
    collection: Collection, recipe: Recipe
) -> None:
    plain = dataclasses.replace(recipe, num_siblings=0)
    lists = _builder(collection, plain, num_cloze=0).train_lists()
    assert any(max(item.cosines[1:]) > item.cosines[0] for item in lists)
    denoised = _builder(collection, plain, num_cloze=0, unjudged_margin=0.0).train_lists()
    assert all(max(item.cosines[1:]) <= item.cosines[0] for item in denoised)


def test_rated_lists_are_read_as_written_with_each_text_once(
    collection: Collection, recipe: Recipe, tmp_path: Path
) -> None:
    builder = _builder(collection, recipe)
    for lists in (builder.train_lists(), builder.dev_lists()):
        rated_lists(lists).write(tmp_path / "lists.npz")
        read = RatedLists.read(tmp_path / "lists.npz")
        assert len(set(read.table.texts)) == len(read.table.texts)
        for item, before in zip(read.as_lists(), lists, strict=True):
            assert (item.query, item.documents) == (before.query, before.documents)
            assert item.grades == before.grades
            rated = len(before.cosines)
            np.testing.assert_allclose(item.cosines[:rated], before.cosines, atol=1e-3)
            np.testing.assert_allclose(item.bm25[:rated], before.bm25, atol=1e-3)


def test_rated_lists_keep_shorter_lists_and_any_text(tmp_path: Path) -> None:
    lists = [
        CandidateList("q \ud800", ["one", "two"], [1, 0], [0.5, 0.25], [1.0, 0.0]),
        CandidateList("", ["two"], [3], [0.125], [0.5]),
    ]
    rated_lists(lists).write(tmp_path / "lists.npz")
    assert RatedLists.read(tmp_path / "lists.npz").as_lists() == lists


def test_rated_lists_of_another_file_raise(tmp_path: Path) -> None:
    (tmp_path / "lists.npz").write_text("no lists")
    with pytest.raises(TrainingDataError, match="holds no candidate lists"):
        RatedLists.read(tmp_path / "lists.npz")
