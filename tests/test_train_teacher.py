"""The base model as a bi-encoder, on either engine, and the memory of what it said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from toy_training import write_base

from zen_fast.train.teacher import RememberingTeacher, Scores, StockTeacher, make_teacher

_TEXTS = ["Where does the otter live?", "near the water", "", "heron " * 90, "7 lizards"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    write_base(folder)
    return folder


@pytest.mark.parametrize(("precision", "cosine"), [("fp32", 0.99999), ("int8", 0.99)])
def test_packed_teacher_says_what_the_stock_model_says(
    base: Path, precision: str, cosine: float
) -> None:
    packed = make_teacher(base, "cpu", precision).embed(_TEXTS)
    stock = StockTeacher(base).embed(_TEXTS)
    assert packed.shape == stock.shape
    assert (packed * stock).sum(axis=1).min() >= cosine


class _Counting:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str], advance: object = None) -> Scores:
        self.asked += texts
        return np.array([[len(text), 1.0] for text in texts], np.float32)


def test_remembering_teacher_asks_about_each_text_once_and_goes_on_from_its_file(
    tmp_path: Path,
) -> None:
    counting = _Counting()
    first = RememberingTeacher(lambda: counting, tmp_path / "teacher.npz")
    assert first.embed(["aa", "b", "aa"]).tolist() == [[2, 1], [1, 1], [2, 1]]
    assert counting.asked == ["aa", "b"]
    again = RememberingTeacher(lambda: counting, tmp_path / "teacher.npz")
    done: list[int] = []
    assert again.embed(["b", "ccc"], done.append).tolist() == [[1, 1], [3, 1]]
    assert counting.asked == ["aa", "b", "ccc"]
    assert done == [1]
