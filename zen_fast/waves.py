"""One query's candidates scored wave by wave, until it is settled who is best or time is up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zen_fast.encoded import EncodedPairs, PairScores
from zen_fast.engine import Engine
from zen_fast.pace import Pace
from zen_fast.ranking import Stop
from zen_fast.scoring import Scorer, known_scores

_SHARE_OF_REMAINING = 0.5
"""Part of the time left that one wave may take: a wrong guess about the first waves can still be
made good, and by the last one little time is at stake."""

_TOKENS_PER_CHARACTER = 0.3


class Plan(Protocol):
    """Which candidates come next, and which of them to give up on the way."""

    @property
    def probe_layers(self) -> int:
        """Layers after which `hopeless` wants to see each candidate; 0 for never."""

    def next_wave(self) -> range:
        """The candidates to score next; empty where no more are needed."""

    def hopeless(
        self, indices: NDArray[np.intp], features: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Which of `indices` to give up; by what `PausedPairs.read` gives."""

    def add(self, indices: NDArray[np.intp], logits: NDArray[np.float32]) -> None:
        """Hears the logits of scored candidates."""


class EveryCandidate:
    """The plan that scores all of them."""

    probe_layers = 0

    def __init__(self, num_candidates: int) -> None:
        self._waves = [range(num_candidates)]

    def next_wave(self) -> range:
        return self._waves.pop() if self._waves else range(0)

    def hopeless(
        self, indices: NDArray[np.intp], features: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        return np.zeros(len(indices), dtype=np.bool_)

    def add(self, indices: NDArray[np.intp], logits: NDArray[np.float32]) -> None:
        pass


class Deadline:
    """Time for one call, and how many more candidates fit into it.

    Args:
        started: time.perf_counter() when the call began.
        reserve_s: kept back for what follows the last wave.
    """

    def __init__(
        self, seconds: float, started: float, pace: Pace, reserve_s: float = 0.0005
    ) -> None:
        self._end = started + seconds - reserve_s
        self._pace = pace

    def num_fitting(self, num_tokens: Sequence[int]) -> int:
        """How many of the next candidates, of so many tokens each, to score in one wave."""
        remaining = self._end - time.perf_counter()
        fitting = total = 0
        for tokens in num_tokens:
            total += tokens
            predicted = self._pace.predict(total)
            if predicted is None:  # nothing is known of this machine: find out with one
                return 1
            if predicted > remaining * (_SHARE_OF_REMAINING if fitting else 1.0):
                break
            fitting += 1
        return fitting

    def observe(self, num_tokens: int, seconds: float) -> None:
        """A wave of `num_tokens` took `seconds`."""
        self._pace.observe(num_tokens, seconds)


@dataclass(frozen=True)
class WaveScores:
    """Scores of the candidates that were scored; NaN for the others."""

    scores: PairScores
    is_scored: NDArray[np.bool_]
    """(num_candidates,)"""
    num_cached: int
    num_given_up: int
    stopped: Stop


class Waves:
    """Scores one query's candidates as a plan has it, within a deadline if there is one."""

    def __init__(
        self,
        scorer: Scorer,
        engine: Engine,
        query: str,
        instruction: str | None,
        documents: Sequence[str],
        plan: Plan,
        deadline: Deadline | None = None,
    ) -> None:
        self._scorer = scorer
        self._engine = engine
        self._query = query
        self._instruction = instruction
        self._documents = documents
        self._plan = plan
        self._deadline = deadline
        self._scores = PairScores.empty(len(documents), 1, engine.has_windows)
        self._scores.logits[:] = np.nan
        self._is_scored = np.zeros(len(documents), dtype=np.bool_)
        self._first: dict[str, int] = {}
        """Scored text → the first candidate that has it."""
        self._given_up: set[str] = set()
        self._num_cached = self._num_given_up = 0

    def run(self) -> WaveScores:
        """Score wave after wave."""
        stopped: Stop | None = None
        while stopped is None:
            wave = self._plan.next_wave()
            if not wave:
                reached = self._is_scored.sum() + self._num_given_up
                stopped = "complete" if reached == len(self._documents) else "settled"
            elif not self._score_wave(wave):
                stopped = "deadline"
        return WaveScores(
            self._scores, self._is_scored, self._num_cached, self._num_given_up, stopped
        )

    def _score_wave(self, wave: range) -> bool:
        """Whether there was time for all of it."""
        waiting = self._recall(wave)
        while waiting:
            encoded = self._encode_fitting(waiting)
            if not encoded.num_pairs:
                break
            piece, waiting = waiting[: encoded.num_pairs], waiting[encoded.num_pairs :]
            self._score(np.array(piece), encoded)
        self._repeat(wave)  # in any case: a score that is known costs no time
        return not waiting

    def _recall(self, wave: range) -> list[int]:
        """Take what the cache knows; the candidates of `wave` that are left, each text once."""
        known = self._scorer.recall(
            [(self._query, self._documents[index]) for index in wave], self._instruction
        )
        waiting: dict[str, int] = {}
        for index in wave:
            text = self._documents[index]
            entry = known.get((self._query, text))
            if entry is not None:
                self._take(np.array([index]), known_scores([entry]))
                self._num_cached += 1
            elif text not in self._first and text not in self._given_up:
                waiting.setdefault(text, index)
        return list(waiting.values())

    def _encode_fitting(self, waiting: Sequence[int]) -> EncodedPairs:
        """The first of `waiting` that there is time for; all of them without a deadline."""
        if self._deadline is None:
            return self._encode(waiting)
        longest = self._engine.tokenizer.max_length or 1 << 30
        guesses = [
            min(longest, 1 + int(_TOKENS_PER_CHARACTER * len(self._documents[index])))
            for index in waiting
        ]
        encoded = self._encode(waiting[: self._deadline.num_fitting(guesses)])
        if not encoded.num_pairs:
            return encoded
        return encoded.head(self._deadline.num_fitting(encoded.num_tokens().tolist()))

    def _encode(self, indices: Sequence[int]) -> EncodedPairs:
        return self._engine.encode(
            [self._query] * len(indices),
            [self._documents[index] for index in indices],
            self._instruction,
        )

    def _score(self, indices: NDArray[np.intp], encoded: EncodedPairs) -> None:
        started = time.perf_counter()
        probe_layers = self._plan.probe_layers
        if probe_layers and encoded.first_window is None and self._engine.can_pause:
            paused = self._engine.pause(encoded.sequences, probe_layers)
            kept = ~self._plan.hopeless(indices, paused.read())
            self._given_up.update(self._documents[index] for index in indices[~kept])
            indices = indices[kept]
            scores = PairScores(paused.finish(kept), None)
        else:
            scores = encoded.scores(self._engine.run(encoded.sequences))
        if self._deadline is not None:
            self._deadline.observe(int(encoded.num_tokens().sum()), time.perf_counter() - started)
        self._take(indices, scores)
        self._scorer.remember(
            [(self._query, self._documents[index]) for index in indices],
            scores,
            self._instruction,
        )

    def _take(self, indices: NDArray[np.intp], scores: PairScores) -> None:
        self._scores.put(indices, scores)
        self._is_scored[indices] = True
        for index in indices:
            self._first.setdefault(self._documents[index], int(index))
        self._plan.add(indices, scores.logits[:, 0])

    def _repeat(self, wave: range) -> None:
        """Give candidates whose text was scored before the same score; count those given up."""
        for index in wave:
            first = self._first.get(self._documents[index])
            if self._documents[index] in self._given_up:
                self._num_given_up += 1
            elif first is not None and not self._is_scored[index]:
                span = None if self._scores.spans is None else self._scores.spans[[first]]
                self._take(np.array([index]), PairScores(self._scores.logits[[first]], span))
