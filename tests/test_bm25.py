"""BM25 as the first stage and as a teacher."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("texts", [["the"], [""], ["cats sleep", ""]])
def test_texts_without_a_word_are_never_found(texts: list[str]) -> None:
    index = Bm25Index(texts)
    found = index.top(["cat", "the", "", "\0"], 2)
    assert found == [[0] if "cats" in texts[0] else [], [], [], []]


def test_saved_index_answers_alike(tmp_path: Path) -> None:
    index = Bm25Index(TEXTS)
    index.save(tmp_path)
    loaded = Bm25Index.load(tmp_path)
    queries = ["greenhouse gases", "", "sleeping cats"]
    for ours, theirs in zip(index.search(queries, 4), loaded.search(queries, 4), strict=True):
        assert [each.tolist() for each in ours] == [each.tolist() for each in theirs]
    assert loaded.scores("gas").tolist() == index.scores("gas").tolist()


@pytest.mark.parametrize(
    ("before", "level"),
    [
        ("", logging.WARNING),
        ("import bm25s", logging.WARNING),
        ("log.setLevel(logging.INFO)", logging.INFO),
        ("log.setLevel(logging.DEBUG)", logging.DEBUG),
        ("import bm25s; log.setLevel(logging.ERROR)", logging.ERROR),
    ],
)
def test_bm25s_is_quiet_unless_an_application_says_otherwise(before: str, level: int) -> None:
    program = f"""
import logging
logging.basicConfig(level=logging.WARNING)
log = logging.getLogger("bm25s")
{before}
from zen_fast.bm25 import Bm25Index
Bm25Index(["Cats sleep."]).search(["the"], 1)
print(log.level)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"{level}\n"
    assert ("The query is empty" in ran.stderr) == (level <= logging.INFO)


@pytest.mark.parametrize("query", ["", "the", "zebra"])
def test_scores_are_zero_without_a_shared_word(query: str) -> None:
    assert Bm25Index(TEXTS).scores(query).tolist() == [0.0] * len(TEXTS)
