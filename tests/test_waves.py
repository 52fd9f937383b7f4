"""Candidates scored wave by wave: deadlines, what is known already, and what is left unscored."""

from __future__ import annotations

import math
import pickle
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_rerankers import save_reranker
from tiny_tokenizers import random_text

from zen_fast import InvalidArgumentError, InvalidTypeError, ZenReranker
from zen_fast.engine import Engine
from zen_fast.pace import Pace
from zen_fast.scoring import Scorer
from zen_fast.waves import Deadline, EveryCandidate, Waves

QUERY = "what turns the wheel"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reranker(tmp_path_factory.mktemp("model"))


@pytest.fixture
def open_reranker(folder: Path) -> Callable[..., ZenReranker]:
    def open_it(**choices: Any) -> ZenReranker:
        return ZenReranker.from_pretrained(folder, num_threads=1, activation="identity", **choices)

    return open_it


@pytest.fixture(scope="module")
def documents() -> list[str]:
    rng = random.Random(0)
    texts = [random_text(rng, rng.randint(3, 30)) for _ in range(40)]
    return [*texts, texts[3], texts[0]]


class EveryThird:
    """A plan in three waves that gives up all but every third candidate."""

    probe_layers = 1

    def __init__(self, num_candidates: int) -> None:
        self._waves = [range(start, start + 14) for start in range(0, num_candidates, 14)]
        self.heard: dict[int, float] = {}

    def next_wave(self) -> range:
        return self._waves.pop(0) if self._waves else range(0)

    def hopeless(
        self, indices: NDArray[np.intp], features: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        assert len(features) == len(indices)
        mask: NDArray[np.bool_] = indices % 3 != 0
        return mask

    def add(self, indices: NDArray[np.intp], logits: NDArray[np.float32]) -> None:
        self.heard.update(zip(indices.tolist(), logits.tolist(), strict=True))


def _waves(reranker: ZenReranker, documents: list[str], plan: Any) -> Waves:
    assert isinstance(reranker.engine, Engine)
    return Waves(reranker._scorer, reranker.engine, QUERY, None, documents, plan)


def test_every_candidate_is_scored_as_without_waves(
    open_reranker: Callable[..., ZenReranker], documents: list[str]
) -> None:
    for choices in ({}, {"score_cache": "memory"}, {"long_documents": "chunk", "max_length": 20}):
        reranker = open_reranker(**choices)
        for _ in range(2):
            result = _waves(reranker, documents, EveryCandidate(len(documents))).run()
            expected = Scorer(reranker.engine).scores([QUERY] * len(documents), documents)
            np.testing.assert_array_equal(result.scores.logits, expected.logits)
            np.testing.assert_array_equal(result.scores.spans, expected.spans)
            assert result.stopped == "complete"
            assert result.is_scored.all()


def test_given_up_candidates_have_no_score_and_repeats_share_their_fate(
    open_reranker: Callable[..., ZenReranker], documents: list[str]
) -> None:
    reranker = open_reranker(score_cache="memory")
    whole = Scorer(reranker.engine).scores([QUERY] * len(documents), documents).logits[:, 0]
    plan = EveryThird(len(documents))
    result = _waves(reranker, documents, plan).run()
    kept = {index for index in range(40) if index % 3 == 0} | {40, 41}
    assert set(np.flatnonzero(result.is_scored).tolist()) == kept == set(plan.heard)
    assert result.num_given_up == len(documents) - len(kept)
    assert result.stopped == "complete"
    for index in kept:
        assert result.scores.logits[index, 0] == whole[index] == plan.heard[index]
    assert np.isnan(result.scores.logits[~result.is_scored]).all()
    again = _waves(reranker, documents, EveryThird(len(documents))).run()
    assert again.num_cached == len(kept)


def test_deadline_returns_what_is_scored_before_the_rest_in_order(
    open_reranker: Callable[..., ZenReranker],
    documents: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reranker = open_reranker()
    exact = {each.index: each.score for each in reranker.rerank(QUERY, documents, k=None)}
    backend = reranker.engine.backend
    forward = backend.forward

    def slow(batch: Any) -> Any:
        time.sleep(batch.num_sequences * 0.02)
        return forward(batch)

    monkeypatch.setattr(backend, "forward", slow)
    for _ in range(3):  # the first call learns the pace
        started = time.perf_counter()
        ranking = reranker.rerank(QUERY, documents, k=None, deadline_ms=300)
        seconds = time.perf_counter() - started
    work = ranking.work
    assert work.stopped == "deadline"
    assert work.is_partial
    assert 0 < work.num_scored < len(documents)
    assert seconds < 0.6  # all of them take 0.84, and a busy machine is late, too
    scored = [each for each in ranking if not math.isnan(each.score)]
    assert list(ranking[: len(scored)]) == scored
    assert [each.score for each in scored] == sorted((each.score for each in scored), reverse=True)
    assert all(each.score == exact[each.index] for each in scored)
    first = documents[0]  # comes again at the end: its score is known, and costs no time
    assert {each.index for each in scored if each.document == first} == {0, len(documents) - 1}
    unscored = [each.index for each in ranking[len(scored) :]]
    assert unscored == sorted(unscored)
    assert len(ranking) == len(documents)


def test_deadline_that_is_long_enough_changes_nothing(
    open_reranker: Callable[..., ZenReranker], documents: list[str]
) -> None:
    reranker = open_reranker()
    ranking = reranker.rerank(QUERY, documents, deadline_ms=60_000)
    assert ranking == reranker.rerank(QUERY, documents)
    assert ranking.work.stopped == "complete"
    copy = pickle.loads(pickle.dumps(ranking))
    assert copy == ranking
    assert copy.work == ranking.work


def test_deadline_waves_grow_and_shrink_with_the_time_left() -> None:
    pace = Pace()
    assert pace.predict(100) is None
    fresh = Deadline(10.0, time.perf_counter(), pace)
    assert fresh.num_fitting([50] * 9) == 1  # nothing is known: find out with one
    for _ in range(30):
        pace.observe(100, 0.1)
    assert Deadline(10.0, time.perf_counter(), pace).num_fitting([100] * 100) == pytest.approx(
        48, abs=3
    )
    assert Deadline(0.15, time.perf_counter(), pace).num_fitting([100] * 100) == 1
    assert Deadline(0.05, time.perf_counter(), pace).num_fitting([100] * 100) == 0


def test_pace_is_careful_where_runs_differ() -> None:
    steady, unsteady = Pace(), Pace()
    for index in range(50):
        steady.observe(100, 0.1)
        unsteady.observe(100, 0.05 if index % 2 else 0.15)
    assert steady.predict(100) == pytest.approx(0.1, rel=0.05)
    predicted = unsteady.predict(100)
    assert predicted is not None
    assert predicted > 0.15
    assert steady.predict(10_000) == pytest.approx(10.0, rel=0.05)


def test_uncalibrated_model_scores_everything_and_says_so(
    open_reranker: Callable[..., ZenReranker], documents: list[str]
) -> None:
    ranking = open_reranker().rerank(QUERY, documents, early_stop=0.9)
    assert not ranking.work.is_partial
    assert "not calibrated" in ranking.work.why


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"early_stop": 1.0}, InvalidArgumentError, "early_stop=1"),
        ({"early_stop": 0}, InvalidArgumentError, "early_stop=0"),
        ({"early_stop": "0.9"}, InvalidTypeError, "early_stop is a str"),
        ({"deadline_ms": 0}, InvalidArgumentError, "deadline_ms=0"),
        ({"deadline_ms": float("nan")}, InvalidArgumentError, "deadline_ms=nan"),
        ({"deadline_ms": True}, InvalidTypeError, "deadline_ms is a bool"),
    ],
)
def test_bad_options_are_refused_by_name(
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    open_reranker: Callable[..., ZenReranker],
) -> None:
    with pytest.raises(error, match=message):
        open_reranker().rerank(QUERY, ["a", "b"], **options)
