"""Pairs that stop after a layer: what is read of them, and that those kept end as they would."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from tiny_rerankers import save_reranker
from tiny_tokenizers import random_text

from zen_fast import ZenReranker
from zen_fast.batching import TokenizedPair
from zen_fast.engine import Engine

QUERY = "what turns the wheel"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = save_reranker(tmp_path_factory.mktemp("model"))
    engine = ZenReranker.from_pretrained(folder, num_threads=2).engine
    assert isinstance(engine, Engine)
    return engine


@pytest.fixture(scope="module")
def pairs(engine: Engine) -> list[TokenizedPair]:
    rng = random.Random(0)
    documents = [random_text(rng, num_words) for num_words in range(1, 31)]
    return engine.encode([QUERY] * len(documents), documents).sequences


def test_finish_gives_the_bits_of_a_whole_pass_in_any_batches(
    engine: Engine, pairs: list[TokenizedPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = engine.run(pairs)
    kept = np.random.default_rng(0).random(len(pairs)) < 0.4
    for budget in (engine.token_budget, 100):
        monkeypatch.setattr(engine, "token_budget", budget)
        paused = engine.pause(pairs, 1)
        np.testing.assert_array_equal(paused.finish(kept), whole[kept])
        np.testing.assert_array_equal(paused.finish(np.ones(len(pairs), np.bool_)), whole)
        assert len(paused.finish(np.zeros(len(pairs), np.bool_))) == 0


def test_read_gives_first_state_and_means_over_pair_and_head(
    engine: Engine, pairs: list[TokenizedPair]
) -> None:
    num_head = len(engine.tokenizer.encode_pairs([QUERY], [""])[0]) - 1
    features = engine.pause(pairs, 1).read().reshape(len(pairs), 3, -1)
    for index in (0, 7, 29):
        batch = engine._pack(pairs, [index])
        states = engine.backend.advance(batch, None, range(1))  # type: ignore[attr-defined]
        expected = [states[0], states.mean(axis=0), states[:num_head].mean(axis=0)]
        np.testing.assert_allclose(features[index], expected, rtol=0, atol=1e-5)


def test_pairs_of_another_engine_than_a_pausing_one_are_not_paused(engine: Engine) -> None:
    class Whole:
        name = "whole"

    assert engine.can_pause
    other = Engine(Whole(), engine.tokenizer, engine.spec, 100)  # type: ignore[arg-type]
    assert not other.can_pause
