"""The ways of skipping work that are compared, each as a function from a request to a ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from zen_fast.bench.skip_work.options import SkipWorkOptions
from zen_fast.candidates import Request
from zen_fast.ranking import Ranking
from zen_fast.reranker import ZenReranker

EXACT = "every candidate, whole"


@dataclass(frozen=True)
class Feature:
    """One row of the report."""

    name: str
    kind: str
    """One of "exact", "cache", "early_stop", "deadline" or "long"."""
    setting: float | None
    rank: Callable[[Request], Ranking]


def features(options: SkipWorkOptions) -> Iterator[Feature]:
    """Every row, the exact one first; the model is loaded for each as it needs it."""
    exact = _reranker(options)
    k = options.k
    yield Feature(EXACT, "exact", None, _calling(exact, k))
    if "cache" in options.kinds:
        cached = _reranker(options, score_cache="memory")
        yield Feature("score cache, first call", "cache", 0, _calling(cached, k))
        yield Feature("score cache, same call again", "cache", 1, _calling(cached, k))
    if "early_stop" in options.kinds:
        for share in options.shares:
            rank = _calling(exact, k, early_stop=share)
            yield Feature(f"early_stop={share:g}", "early_stop", share, rank)
    if "deadline" in options.kinds:
        for milliseconds in options.deadlines_ms:
            rank = _calling(exact, k, deadline_ms=milliseconds)
            yield Feature(f"deadline_ms={milliseconds:g}", "deadline", milliseconds, rank)
    if "long" in options.kinds:
        length = options.short_length
        truncating = _reranker(options, max_length=length)
        yield Feature(f"truncated to {length} tokens", "long", 0, _calling(truncating, k))
        chunking = _reranker(
            options, max_length=length, long_documents="chunk", max_windows=options.windows
        )
        name = f"best {options.windows} windows of {length} tokens"
        yield Feature(name, "long", 1, _calling(chunking, k))


def _reranker(options: SkipWorkOptions, **choices: Any) -> ZenReranker:
    return ZenReranker.from_pretrained(
        options.model,
        precision=options.precision,
        num_threads=options.num_threads,
        calibration=options.calibration,
        token_cache_mb=0,  # no row may find its documents tokenized by another
        **choices,
    )


def _calling(
    reranker: ZenReranker,
    k: int,
    early_stop: float | None = None,
    deadline_ms: float | None = None,
) -> Callable[[Request], Ranking]:
    """A call of `rerank`."""

    def rank(request: Request) -> Ranking:
        return reranker.rerank(
            request.query, request.documents, k, early_stop=early_stop, deadline_ms=deadline_ms
        )

    return rank
