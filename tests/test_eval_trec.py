"""TREC runs in and out."""

from __future__ import annotations

from pathlib import Path

import pytest

from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.trec import read_run, write_run


def test_run_comes_back_best_first(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_run({"q1": {"a": 0.25, "b": 1.5}, "q2": {"c": -3.0}}, path, "mine")
    assert path.read_text().splitlines()[0] == "q1 Q0 b 1 1.5 mine"
    run = read_run(path)
    assert run == {"q1": {"b": 1.5, "a": 0.25}, "q2": {"c": -3.0}}
    assert list(run["q1"]) == ["b", "a"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q1 Q0 b 2", "line 2: expected"),
        ("q1 Q0 b 2 high tag", "line 2: expected"),
        ("q1 Q0 a 2 0.5 tag", "line 2: query q1 has document a twice"),
    ],
)
def test_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(f"q1 Q0 a 1 0.9 tag\n{line}\n")
    with pytest.raises(InvalidArgumentError, match=message):
        read_run(path)


def test_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"cannot read the run .*absent"):
        read_run(tmp_path / "absent")
