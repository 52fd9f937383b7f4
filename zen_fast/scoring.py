"""Texts to logits with as little work as possible: what was scored before is not scored again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import groupby

import numpy as np

from zen_fast.encoded import PairScores
from zen_fast.engine import Engine
from zen_fast.engine_group import EngineGroup
from zen_fast.score_cache import CachedScore, ScoreCache

Pair = tuple[str, str]


class Scorer:
    """An engine behind a score cache; a pair that a call repeats is scored once.

    Args:
        cache: None to remember nothing from one call to the next.
    """

    def __init__(self, engine: Engine | EngineGroup, cache: ScoreCache | None = None) -> None:
        self.engine = engine
        self.cache = cache

    def scores(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        show_progress: bool | None = None,
        instruction: str | None = None,
    ) -> PairScores:
        """Logits of each pair (queries[i], documents[i]), and its best window."""
        pairs = list(zip(queries, documents, strict=True))
        place = {pair: index for index, pair in enumerate(dict.fromkeys(pairs))}
        known = self.recall(list(place), instruction)
        missing = [pair for pair in place if pair not in known]
        fresh = self.engine.scores(
            [query for query, _ in missing],
            [document for _, document in missing],
            show_progress,
            instruction,
        )
        self.remember(missing, fresh, instruction)
        if len(missing) == len(pairs):
            return fresh
        return self._gather(pairs, known, missing, fresh)

    def recall(
        self, pairs: Sequence[Pair], instruction: str | None = None
    ) -> dict[Pair, CachedScore]:
        """Those of `pairs` that the cache knows."""
        known: dict[Pair, CachedScore] = {}
        if self.cache is None:
            return known
        for query, group in groupby(pairs, key=lambda pair: pair[0]):
            documents = [document for _, document in group]
            entries = self.cache.get(query, documents, instruction)
            for document, entry in zip(documents, entries, strict=True):
                if entry is not None:
                    known[query, document] = entry
        return known

    def remember(
        self, pairs: Sequence[Pair], scores: PairScores, instruction: str | None = None
    ) -> None:
        """Tell the cache what `pairs` have scored."""
        if self.cache is None:
            return
        entries = [
            (query, (document, _entry(scores, index)))
            for index, (query, document) in enumerate(pairs)
        ]
        for query, group in groupby(entries, key=lambda entry: entry[0]):
            self.cache.put(query, [entry for _, entry in group], instruction)

    def one_engine(self, num_pairs: int) -> AbstractContextManager[Engine]:
        """The engine that takes one query's `num_pairs`."""
        if isinstance(self.engine, EngineGroup):
            return self.engine.one(num_pairs)
        return nullcontext(self.engine)

    def _gather(
        self,
        pairs: Sequence[Pair],
        known: dict[Pair, CachedScore],
        missing: Sequence[Pair],
        fresh: PairScores,
    ) -> PairScores:
        scores = PairScores.empty(len(pairs), fresh.logits.shape[1], fresh.spans is not None)
        is_cached = np.array([pair in known for pair in pairs], dtype=np.bool_)
        scores = replace(scores, is_cached=is_cached)
        place = {pair: index for index, pair in enumerate(missing)}
        fresh_pairs = [(to, place[pair]) for to, pair in enumerate(pairs) if pair in place]
        if fresh_pairs:
            to, source = (np.array(each) for each in zip(*fresh_pairs, strict=True))
            spans = None if fresh.spans is None else fresh.spans[source]
            scores.put(to, PairScores(fresh.logits[source], spans))
        if known:
            to = np.flatnonzero(is_cached)
            scores.put(to, known_scores([known[pair] for pair in pairs if pair in known]))
        return scores


def known_scores(entries: Sequence[CachedScore]) -> PairScores:
    """The scores of pairs, from what the cache knows of them; at least one."""
    spans = [entry.span for entry in entries if entry.span is not None]
    return PairScores(
        np.stack([entry.logits for entry in entries]),
        np.array(spans, dtype=np.int32) if spans else None,
    )


def _entry(scores: PairScores, index: int) -> CachedScore:
    span = (
        None if scores.spans is None else (int(scores.spans[index, 0]), int(scores.spans[index, 1]))
    )
    return CachedScore(scores.logits[index], span)
