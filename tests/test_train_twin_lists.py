"""What a twin learns from: lists of whole documents and of passages, asked for by many means."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("bm25s")

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.twin.lists import unjudged_lists

_NUM_DOCUMENTS = 40


def _collection() -> Collection:
    """Every document is of one title and six sentences of one word that all share."""
    documents = {
        f"d{index}": CollectionDocument(
            f"Title{index}", " ".join(f"Otters swim in river {index} {part}." for part in range(6))
        )
        for index in range(_NUM_DOCUMENTS)
    }
    documents["hidden"] = CollectionDocument("", "Otters swim in a hidden river.")
    queries = {f"q{index}": f"where do otters swim {index}" for index in range(20)}
    judgements = {f"q{index}": {f"d{index % _NUM_DOCUMENTS}": 1} for index in range(20)}
    judgements["q0"] = {f"d{index}": int(index == 0) for index in range(_NUM_DOCUMENTS)}
    return Collection("toy", documents, queries, judgements)


def test_lists_are_of_whole_documents_and_of_passages_by_turns() -> None:
    collection = _collection()
    lists = unjudged_lists([collection], [20], [0], np.random.default_rng(0))
    assert len(lists) == 20
    whole = {document.full for document in collection.documents.values()}
    shown = [{lists.texts[row] for row in rows} for rows in lists.documents]
    assert sum(texts <= whole for texts in shown) == 10
    passages = set().union(*(texts for texts in shown if not texts & whole))
    assert passages
    assert all("Title" not in text for text in passages)
    assert len({len(text.split()) for text in passages}) > 1


def test_documents_that_the_split_does_not_judge_stay_unknown() -> None:
    lists = unjudged_lists([_collection()], [20], [30], np.random.default_rng(0))
    assert len(lists) == 50
    assert not any("hidden" in text for text in lists.texts)


def test_statements_are_sentences_whose_document_is_no_candidate_of_bm25() -> None:
    collection = _collection()
    lists = unjudged_lists([collection], [0], [50], np.random.default_rng(0))
    assert len(lists) == 50
    for query_row, rows in zip(lists.queries, lists.documents, strict=True):
        statement = lists.texts[query_row]
        assert any(statement in each.text for each in collection.documents.values())
        *ranked, _ = (lists.texts[row] for row in rows)  # the last one is drawn from all
        assert not any(statement in text for text in ranked)


def test_some_queries_are_without_their_stop_words() -> None:
    lists = unjudged_lists([_collection()], [20], [0], np.random.default_rng(3))
    queries = [lists.texts[row] for row in lists.queries]
    short = [query for query in queries if query.startswith("otters swim")]
    assert 0 < len(short) < len(queries)
    assert all(query.startswith("where do otters") for query in set(queries) - set(short))


def test_documents_without_a_text_show_their_title() -> None:
    collection = _collection()
    titles = {
        key: CollectionDocument(f"Otters of {key}", "") for key in collection.judgements["q0"]
    }
    bare = Collection("bare", titles, collection.queries, collection.judgements)
    lists = unjudged_lists([bare], [20], [5], np.random.default_rng(0))
    assert len(lists) == 20
    assert {lists.texts[row] for row in lists.documents.flat} <= {
        document.title for document in titles.values()
    }


def test_collection_too_small_for_a_list_is_refused() -> None:
    document = CollectionDocument("", "Otters swim.")
    small = Collection("small", {"d": document}, {"q": "otters"}, {"q": {"d": 1}})
    with pytest.raises(TrainingDataError, match="none of the queries of small has 14 candidates"):
        unjudged_lists([small], [1], [1], np.random.default_rng(0))
