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
    """Every row, the exact one first; each has the model loaded as it needs it."""
    exact = _reranker(options)
    k = options.k
    yield Feature(EXACT, "exact", None, lambda request: _rank(exact, request, k))
    cached = _reranker(options, score_cache="memory")

    def warm(request: Request) -> Ranking:
        return _rank(cached, request, k)

    yield Feature("score cache, first call", "cache", 0, warm)
    yield Feature("score cache, same call again", "cache", 1, warm)
    for share in options.shares:
        yield Feature(f"early_stop={share:g}", "early_stop", share, _stopping(exact, k, share))
    for milliseconds in options.deadlines_ms:
        yield Feature(
            f"deadline_ms={milliseconds:g}",
            "deadline",
            milliseconds,
            _until(exact, k, milliseconds),
        )
    length = options.short_length
    truncating = _reranker(options, max_length=length)
    yield Feature(
        f"truncated to {length} tokens", "long", 0, lambda request: _rank(truncating, request, k)
    )
    chunking = _reranker(
        options, max_length=length, long_documents="chunk", max_windows=options.windows
    )
    yield Feature(
        f"best {options.windows} windows of {length} tokens",
        "long",
        1,
        lambda request: _rank(chunking, request, k),
    )


def _reranker(options: SkipWorkOptions, **choices: Any) -> ZenReranker:
    return ZenReranker.from_pretrained(
        options.model,
        precision=options.precision,
        num_threads=options.num_threads,
        calibration=options.calibration,
        token_cache_mb=0,  # no row may find its documents tokenized by another
        **choices,
    )


def _rank(reranker: ZenReranker, request: Request, k: int) -> Ranking:
    return reranker.rerank(request.query, request.documents, k)


def _stopping(reranker: ZenReranker, k: int, share: float) -> Callable[[Request], Ranking]:
    return lambda request: reranker.rerank(request.query, request.documents, k, early_stop=share)


def _until(reranker: ZenReranker, k: int, milliseconds: float) -> Callable[[Request], Ranking]:
    return lambda request: reranker.rerank(
        request.query, request.documents, k, deadline_ms=milliseconds
    )
