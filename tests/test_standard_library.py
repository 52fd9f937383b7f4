"""The collection made from Python sources, and the workloads made from a collection."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from zen_fast.bench.random_model import SHAPES, write_random_model
from zen_fast.bench.workloads import cut_text, ranking
from zen_fast.collection import Collection, CollectionDocument
from zen_fast.errors import InvalidArgumentError
from zen_fast.standard_library import standard_library_collection

SOURCE = '''
"""Parse dates written by people.

The parser accepts the day, the month and the year in any order that leaves no doubt about them,
and raises for all others.
"""

class Parser:
    """Keep the state of one parse.

    Each token is looked at once, from left to right, and moves the state on; the state at the
    end tells which of the fields were seen.
    """

    def close(self):
        """Initialize self."""

def parse(text):
    """Turn a text into a date object.

    Raises an error that quotes the text where it cannot be read, with the position of the first
    character that did not fit.
    """
'''


def test_collection_splits_docstrings_into_queries_and_documents(tmp_path: Path) -> None:
    (tmp_path / "dates.py").write_text(SOURCE)
    collection = standard_library_collection(tmp_path)
    assert collection.queries == {
        "dates": "Parse dates written by people.",
        "dates.Parser": "Keep the state of one parse.",
        "dates.parse": "Turn a text into a date object.",
    }
    assert collection.judgements["dates.parse"] == {"dates.parse": 1}
    for key, query in collection.queries.items():
        assert query not in collection.documents[key].full
    assert "  " not in collection.documents["dates.Parser"].full


def test_collection_skips_tests_and_unparsable_files(tmp_path: Path) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_dates.py").write_text(SOURCE)
    (tmp_path / "template.py").write_text("def {name}(): pass")
    assert standard_library_collection(tmp_path).documents == {}


def test_collection_asks_no_query_that_several_docstrings_share(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(SOURCE)
    (tmp_path / "b.py").write_text(
        SOURCE.replace("year", "century").replace("token", "word").replace("quotes", "cites")
    )
    collection = standard_library_collection(tmp_path)
    assert "a" in collection.documents
    assert "b" in collection.documents
    assert collection.queries == {}


def test_collection_of_this_python_is_large_enough_for_ranking() -> None:
    collection = standard_library_collection()
    assert len(collection.queries) > 500
    assert len(collection.documents) >= len(collection.queries)
    assert max(len(each.text.split()) for each in collection.documents.values()) == 100


@pytest.fixture(scope="module")
def fruit() -> Collection:
    documents = {
        "apple": CollectionDocument("", "an apple falls from the old tree"),
        "pear": CollectionDocument("", "the pear was eaten by a wasp in autumn"),
        "plum": CollectionDocument("Plums", "dried in the sun, they keep until the spring"),
    }
    queries = {"q1": "falling apple", "q2": "wasps eat a pear"}
    return Collection("fruit", documents, queries, {"q1": {"apple": 1}, "q2": {"pear": 1}})


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory, fruit: Collection) -> Tokenizer:
    folder = tmp_path_factory.mktemp("model")
    texts = [document.full for document in fruit.documents.values()]
    write_random_model(folder, SHAPES["tiny"], texts, seed=0)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_ranking_gives_each_query_its_bm25_candidates(fruit: Collection) -> None:
    workload = ranking(fruit, num_requests=10, num_candidates=2, rng=random.Random(0))
    best = {request.query_id: request.document_ids[0] for request in workload.requests}
    assert best == {"q1": "apple", "q2": "pear"}
    for request in workload.requests:
        assert len(request.document_ids) <= 2
        assert request.documents[0] == fruit.documents[request.document_ids[0]].full


def test_ranking_raises_where_too_few_queries_have_a_relevant_document(fruit: Collection) -> None:
    judgements = {"q1": {"apple": 1}, "q2": {"pear": 0}}
    one_query = Collection("fruit", fruit.documents, fruit.queries, judgements)
    with pytest.raises(InvalidArgumentError, match="fruit has 1 queries with a relevant"):
        ranking(one_query, num_requests=2, num_candidates=2, rng=random.Random(0))


def test_cut_text_gives_documents_of_the_length_asked_for(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    words = [f"word{index % 50}" for index in range(3000)]
    text = Collection("words", {"d": CollectionDocument("", " ".join(words))}, {"q": "word1"}, {})
    workload = cut_text("short", text, tokenizer, 3, 40, random.Random(0))
    lengths = [
        len(tokenizer.encode(document, add_special_tokens=False).ids)
        for request in workload.requests
        for document in request.documents
    ]
    assert len(lengths) == 3 * 40
    assert 65 < sum(lengths) / len(lengths) < 85
    assert max(lengths) > min(lengths)


def test_cut_text_raises_where_the_collection_is_too_small(
    fruit: Collection, tokenizer: Tokenizer
) -> None:
    with pytest.raises(InvalidArgumentError, match="fruit has"):
        cut_text("long", fruit, tokenizer, 1, 5, random.Random(0))
