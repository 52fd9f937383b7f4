"""BM25 as the first stage and as a teacher."""

from __future__ import annotations

import pytest

pytest.importorskip("bm25s")

from zen_fast.bm25 import Bm25Index

TEXTS = [
    "Greenhouse gases warm the planet.",
    "The sun shines.",
    "Gases fill a room.",
    "Cats sleep.",
]


def test_scores_rank_as_top_does() -> None:
    index = Bm25Index(TEXTS)
    scores = index.scores("greenhouse gases")
    (top,) = index.top(["greenhouse gases"], 4)
    assert top == sorted((i for i in range(4) if scores[i] > 0), key=lambda i: -scores[i])
    assert top == [0, 2]


@pytest.mark.parametrize("query", ["", "the", "zebra"])
def test_scores_are_zero_without_a_shared_word(query: str) -> None:
    assert Bm25Index(TEXTS).scores(query).tolist() == [0.0] * len(TEXTS)
