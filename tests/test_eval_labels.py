"""What an evaluation calls models and first stages."""

from __future__ import annotations

import pytest

pytest.importorskip("bm25s")

from zen_fast.errors import InvalidArgumentError
from zen_fast.eval.labels import distinct, first_stage_labels, model_labels


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        (["zen-mini", "owner/name"], ["zen-mini", "name"]),
        (["run1/final", "run2/final", "base"], ["run1/final", "run2/final", "base"]),
        (["final/", "run1/final"], ["final/", "run1/final"]),
        (["..", "a"], ["..", "a"]),
        ([".", "a"], [".", "a"]),
    ],
)
def test_models_have_short_labels_that_tell_them_apart(
    models: list[str], expected: list[str]
) -> None:
    assert model_labels(models) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["bm25", "dense", "hybrid"], ["bm25", "dense", "hybrid"]),
        (["hybrid", "runs/hybrid", "my-run.trec"], ["hybrid", "hybrid.trec", "my-run.trec"]),
        (
            ["runs/bm25+a-int8-0.2-first-stage", "runs/bm25+a-int8-0.6-first-stage"],
            ["bm25+a-int8-0.2-first-stage.trec", "bm25+a-int8-0.6-first-stage.trec"],
        ),
        (["a/x", "b/x.trec"], ["a/x.trec", "b/x.trec"]),
    ],
)
def test_first_stages_have_short_labels_that_tell_them_apart(
    names: list[str], expected: list[str]
) -> None:
    assert first_stage_labels(names) == expected


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="--model has a/x twice; name each once"):
        model_labels(["a/x", "b", "a/x"])
    for names, twice in ((["bm25", "bm25"], "bm25"), (["x", "x.trec"], "x.trec")):
        with pytest.raises(InvalidArgumentError, match=f"--first-stage has {twice} twice"):
            first_stage_labels(names)
    with pytest.raises(InvalidArgumentError, match="--precision has int8 twice"):
        distinct("--precision", ["int8", "fp32", "int8"])
