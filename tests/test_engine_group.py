"""Engines that share work, and engines whose GPU is too small for a batch."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_rerankers import save_reranker
from tiny_tokenizers import random_text

from zen_fast import OutOfDeviceMemoryError, ZenReranker
from zen_fast.backends import Backend
from zen_fast.batching import PackedBatch
from zen_fast.engine import Engine
from zen_fast.engine_group import EngineGroup

QUERIES = ["what turns the wheel", "who reads", "where it rains"]


class SmallBackend:
    """A backend with room for so many tokens; it keeps the sizes of what it ran."""

    name = "small"

    def __init__(self, backend: Backend, num_tokens: int = 1 << 30) -> None:
        self._backend = backend
        self._num_tokens = num_tokens
        self.num_sequences: list[int] = []
        self.threads: set[int] = set()

    def forward(self, batch: PackedBatch) -> NDArray[np.float32]:
        if batch.num_tokens > self._num_tokens:
            raise OutOfDeviceMemoryError(f"{batch.num_tokens} tokens do not fit")
        self.num_sequences.append(batch.num_sequences)
        self.threads.add(threading.get_ident())
        return self._backend.forward(batch)

    def seconds_by_op(self) -> list[tuple[str, float]]:
        return [("op", 1.0)]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory: pytest.TempPathFactory) -> ZenReranker:
    folder: Path = save_reranker(tmp_path_factory.mktemp("model"))
    return ZenReranker.from_pretrained(folder, num_threads=1, activation="identity")


@pytest.fixture(scope="module")
def documents() -> list[str]:
    rng = random.Random(0)
    return [random_text(rng, num_words) for num_words in range(1, 31)]


def _engine(reranker: ZenReranker, backend: Backend, token_budget: int) -> Engine:
    engine = reranker._engine
    return Engine(backend, engine.tokenizer, engine.spec, token_budget)


def test_engine_halves_its_budget_once_and_says_so(
    reranker: ZenReranker, documents: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    queries = [QUERIES[0]] * len(documents)
    expected = reranker._engine.logits(queries, documents)
    backend = SmallBackend(reranker._engine.backend, num_tokens=120)
    engine = _engine(reranker, backend, token_budget=200)
    with caplog.at_level(logging.WARNING):
        logits = engine.logits(queries, documents)
        engine.logits(queries, documents)
    assert np.array_equal(logits, expected)
    assert sum(backend.num_sequences) == 2 * len(documents)
    warnings = [record for record in caplog.records if record.name == "zen_fast.engine"]
    assert [record.getMessage() for record in warnings] == [
        f"{warnings[0].args[0]}; batches have at most 100 tokens from now on"  # type: ignore[index]
    ]


def test_engine_raises_where_half_its_budget_does_not_fit(
    reranker: ZenReranker, documents: list[str]
) -> None:
    backend = SmallBackend(reranker._engine.backend, num_tokens=70)
    engine = _engine(reranker, backend, token_budget=200)
    for _ in range(2):
        with pytest.raises(OutOfDeviceMemoryError, match="do not fit"):
            engine.logits([QUERIES[0]] * len(documents), documents)
        assert engine.token_budget == 100


def _group(reranker: ZenReranker, size: int) -> tuple[EngineGroup, list[SmallBackend]]:
    backends = [SmallBackend(reranker._engine.backend) for _ in range(size)]
    return EngineGroup([_engine(reranker, each, 4096) for each in backends]), backends


@pytest.mark.parametrize("size", [1, 2, 5])
def test_group_spreads_whole_queries_and_keeps_their_order(
    reranker: ZenReranker, documents: list[str], size: int
) -> None:
    lists = [documents[:9], documents[9:13], documents[13:18]]
    queries = [query for query, each in zip(QUERIES, lists, strict=True) for _ in each]
    texts = [text for each in lists for text in each]
    group, backends = _group(reranker, size)
    logits = group.logits(queries, texts)
    assert np.array_equal(logits, reranker._engine.logits(queries, texts))
    shares = sorted(sum(backend.num_sequences) for backend in backends)
    assert shares == {1: [18], 2: [9, 9], 5: [0, 0, 4, 5, 9]}[size]
    assert group.seconds_by_op()["op"] == size


def test_group_takes_the_idle_engine_while_another_is_busy(
    reranker: ZenReranker, documents: list[str]
) -> None:
    group, backends = _group(reranker, 2)
    entered, leave = threading.Event(), threading.Event()
    run = backends[0].forward

    def slow(batch: PackedBatch) -> NDArray[np.float32]:
        entered.set()
        assert leave.wait(30)
        return run(batch)

    backends[0].forward = slow  # type: ignore[method-assign]
    first = threading.Thread(target=group.logits, args=([QUERIES[0]] * 3, documents[:3]))
    first.start()
    try:
        assert entered.wait(30)
        for _ in range(2):  # what is done no longer counts
            group.logits([QUERIES[1]] * 2, documents[:2])
    finally:
        leave.set()
        first.join()
    assert backends[0].num_sequences == [3]
    assert backends[1].num_sequences == [2, 2]


def test_group_raises_what_an_engine_raised_and_goes_on(
    reranker: ZenReranker, documents: list[str]
) -> None:
    inner = reranker._engine.backend
    engines = [
        _engine(reranker, SmallBackend(inner, num_tokens=1), 10),
        _engine(reranker, SmallBackend(inner), 4096),
    ]
    group = EngineGroup(engines)
    with pytest.raises(OutOfDeviceMemoryError):
        group.logits([*QUERIES[:1] * 5, *QUERIES[1:2] * 4], documents[:9])
    assert group._pairs_in_flight == [0, 0]


def test_group_of_no_pairs_gives_no_logits(reranker: ZenReranker) -> None:
    group, _ = _group(reranker, 2)
    assert group.logits([], []).shape == (0, 1)
