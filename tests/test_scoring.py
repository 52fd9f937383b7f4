"""What was scored before is not scored again, and nothing changes by it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_rerankers import save_reranker

from zen_fast import ZenReranker
from zen_fast.scoring import Scorer

QUERIES = ["what turns the wheel", "who reads"]
DOCUMENTS = [
    "Water turns the wheel of the mill.",
    "The library is quiet.",
    "She reads a book a day.",
    "",
    "Rain.",
]


@pytest.fixture(scope="module")
def open_reranker(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ZenReranker]:
    folder: Path = save_reranker(tmp_path_factory.mktemp("model"))

    def open_it(**choices: Any) -> ZenReranker:
        return ZenReranker.from_pretrained(folder, num_threads=1, activation="identity", **choices)

    return open_it


def _count_sequences(reranker: ZenReranker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the number of sequences in each batch that the backend is given."""
    backend, sizes = reranker.engine.backend, list[int]()
    forward = backend.forward

    def counting(batch: Any) -> Any:
        sizes.append(batch.num_sequences)
        return forward(batch)

    monkeypatch.setattr(backend, "forward", counting)
    return sizes


def test_repeated_pairs_are_scored_once(
    open_reranker: Callable[..., ZenReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = open_reranker()
    expected = reranker.score(QUERIES[0], DOCUMENTS)
    sizes = _count_sequences(reranker, monkeypatch)
    repeated = reranker.score(QUERIES[0], DOCUMENTS * 3)
    np.testing.assert_array_equal(repeated, np.tile(expected, 3))
    assert sum(sizes) == len(DOCUMENTS)


def test_cached_scores_are_those_of_no_cache_and_reach_no_backend(
    open_reranker: Callable[..., ZenReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, cached = open_reranker(), open_reranker(score_cache="memory")
    sizes = _count_sequences(cached, monkeypatch)
    for query in QUERIES:
        cached.score(query, DOCUMENTS[:2])
    assert sum(sizes) == 4
    for query in QUERIES:
        for _ in range(2):
            ranking = cached.rerank(query, DOCUMENTS, k=None)
            assert ranking == plain.rerank(query, DOCUMENTS, k=None)
    assert sum(sizes) == 4 + 2 * (len(DOCUMENTS) - 2)
    assert ranking.work.num_cached == ranking.work.num_scored == len(DOCUMENTS)
    pairs = [(query, document) for query in QUERIES for document in DOCUMENTS]
    np.testing.assert_array_equal(cached.predict(pairs), plain.predict(pairs))
    both = [DOCUMENTS[::-1], DOCUMENTS]
    assert cached.batch_rerank(QUERIES, both) == plain.batch_rerank(QUERIES, both)
    assert sum(sizes) == 2 * len(DOCUMENTS)
    statistics = cached.score_cache_statistics()
    assert statistics is not None
    assert statistics.num_entries == 2 * len(DOCUMENTS)
    assert plain.score_cache_statistics() is None


def test_one_store_keeps_the_scores_of_unequal_settings_apart(
    open_reranker: Callable[..., ZenReranker], tmp_path: Path
) -> None:
    pytest.importorskip("diskcache")
    document = "Water turns the wheel of the mill. " * 5
    settings: list[dict[str, Any]] = [
        {},
        {"max_length": 16},
        {"max_length": 16, "long_documents": "chunk"},
        {"max_length": 16, "long_documents": "chunk", "max_windows": 1},
        {"precision": "int8"},
    ]
    for choices in settings * 2:
        cached = open_reranker(score_cache=f"disk:{tmp_path}", **choices)
        expected = open_reranker(**choices).rerank(QUERIES[0], [document])
        assert cached.rerank(QUERIES[0], [document]) == expected


def test_an_instruction_is_part_of_what_the_cache_is_asked(
    open_reranker: Callable[..., ZenReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = open_reranker(score_cache="memory")
    scorer = reranker._scorer
    asked = []
    engine_scores = reranker.engine.scores

    def scores(queries: Any, documents: Any, show: Any, instruction: Any) -> Any:
        if queries:
            asked.append(instruction)
        return engine_scores(queries, documents, show)

    monkeypatch.setattr(reranker.engine, "scores", scores)
    for instruction in (None, "a", "b", "a", None, "1 a"):
        scorer.scores(["q"], ["d"], None, instruction)
    assert asked == [None, "a", "b", "1 a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_anything_was_locked_scores(
    open_reranker: Callable[..., ZenReranker],
) -> None:
    reranker = open_reranker(score_cache="memory")
    expected = reranker.score(QUERIES[0], DOCUMENTS)
    holders = (reranker.engine, reranker._early_stop, reranker._pace)
    with ExitStack() as stack:
        for holder in holders:
            stack.enter_context(holder._lock)
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # a lock that is never released ends it
            ranking = reranker.rerank(QUERIES[1], DOCUMENTS, 2, early_stop=0.9, deadline_ms=50_000)
            agrees = np.array_equal(reranker.score(QUERIES[0], DOCUMENTS), expected)
            os._exit(0 if agrees and len(ranking) == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_scores_are_right_under_threads(open_reranker: Callable[..., ZenReranker]) -> None:
    cached, plain = open_reranker(score_cache="memory"), open_reranker()
    documents = [f"{document} {index}" for index in range(20) for document in DOCUMENTS]
    expected = plain.score(QUERIES[0], documents)
    agree = []

    def call(shift: int) -> None:
        order = np.roll(np.arange(len(documents)), shift)
        scores = cached.score(QUERIES[0], [documents[index] for index in order])
        agree.append(np.array_equal(scores, expected[order]))

    threads = [threading.Thread(target=call, args=(13 * index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert agree == [True] * 6


def test_multi_label_scores_are_cached_whole(tmp_path: Path) -> None:
    folder = save_reranker(tmp_path, num_labels=3)
    plain = ZenReranker.from_pretrained(folder, activation="identity")
    cached = ZenReranker.from_pretrained(folder, activation="identity", score_cache="memory")
    for _ in range(2):
        np.testing.assert_array_equal(
            cached.score(QUERIES[0], DOCUMENTS), plain.score(QUERIES[0], DOCUMENTS)
        )


def test_no_pairs_give_no_scores(open_reranker: Callable[..., ZenReranker]) -> None:
    for choices in ({}, {"score_cache": "memory"}):
        reranker = open_reranker(**choices)
        assert reranker.score(QUERIES[0], []).shape == (0,)
        assert reranker.rerank(QUERIES[0], [], early_stop=0.9, deadline_ms=20) == []
    assert isinstance(Scorer(reranker.engine).scores([], []).logits, np.ndarray)
