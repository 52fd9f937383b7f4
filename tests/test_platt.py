"""`zen-fast platt`: logits as log odds of relevance, and rankings that stay."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zen_fast import ZenReranker
from zen_fast.checkpoint import load_checkpoint
from zen_fast.checkpoint.scaled import save_scaled
from zen_fast.errors import CheckpointError
from zen_fast.platt.__main__ import main
from zen_fast.platt.fitting import LabelledLogits, Scaling, ScalingError, fit_scaling
from zen_fast.quantize import main as quantize

TRUE = Scaling(slope=2.0, level=-1.5)


def drawn(count: int, seed: int, scaling: Scaling = TRUE, name: str = "drawn") -> LabelledLogits:
    """Logits of documents of which each is relevant with the chance that `scaling` gives it."""
    rng = np.random.default_rng(seed)
    # Symmetric around the threshold, so that either kind is half of them.
    logits = rng.normal(-scaling.level / scaling.slope, 1.5, count)
    chances = 1 / (1 + np.exp(-(scaling.slope * logits + scaling.level)))
    return LabelledLogits(name, count, logits, rng.random(count) < chances)


def test_the_scaling_that_labels_were_drawn_with_is_found() -> None:
    scaling = fit_scaling([drawn(40_000, seed=1)])
    assert scaling.slope == pytest.approx(TRUE.slope, rel=0.03)
    assert scaling.level == pytest.approx(TRUE.level, rel=0.03)


def test_no_scaling_near_the_fitted_one_has_less_loss() -> None:
    samples = [drawn(3000, seed=2), drawn(500, seed=3, scaling=Scaling(0.7, 0.4))]
    best = fit_scaling(samples)

    def loss(scaling: Scaling) -> float:
        return sum(map(scaling.loss, samples))

    for slope, level in ((1.02, 0.0), (0.98, 0.0), (1.0, 0.02), (1.0, -0.02)):
        assert loss(best) < loss(Scaling(best.slope * slope, best.level + level))


def test_relevant_candidates_count_as_much_as_all_others() -> None:
    """How many candidates are not relevant says how deep they were taken, nothing of a score."""
    sample = drawn(20_000, seed=4)
    others = np.flatnonzero(~sample.relevant)
    kept = np.concatenate([np.flatnonzero(sample.relevant)] + [others] * 9)
    deeper = LabelledLogits("deeper", 1, sample.logits[kept], sample.relevant[kept])
    assert deeper.relevant.mean() < 0.15
    shallow, deep = fit_scaling([sample]), fit_scaling([deeper])
    assert deep.slope == pytest.approx(shallow.slope, rel=0.01)
    assert deep.level == pytest.approx(shallow.level, abs=0.01)


def test_a_large_collection_does_not_drown_a_small_one() -> None:
    small, large = drawn(2000, seed=5, scaling=Scaling(2.0, 2.0)), drawn(2000, seed=6)
    repeated = LabelledLogits("repeated", 1, np.tile(large.logits, 20), np.tile(large.relevant, 20))
    once, often = fit_scaling([small, large]), fit_scaling([small, repeated])
    assert often.slope == pytest.approx(once.slope, rel=0.01)
    assert often.level == pytest.approx(once.level, abs=0.01)


def test_the_loss_is_that_of_log_odds() -> None:
    sample = LabelledLogits("two", 1, np.array([0.0, 3.0]), np.array([False, True]))
    expected = 0.5 * math.log(2) + 0.5 * math.log(1 + math.exp(-3))
    assert Scaling().loss(sample) == pytest.approx(expected)


def test_samples_that_a_threshold_parts_have_a_finite_slope() -> None:
    logits = np.array([-1e4, -1.0, 1.0, 1e4])
    scaling = fit_scaling([LabelledLogits("parted", 1, logits, logits > 0)])
    assert 0 < scaling.slope < 10


@pytest.mark.parametrize("offset", [-800.0, 37.0, 1000.0])
def test_logits_far_from_0_are_scaled_as_well(offset: float) -> None:
    sample = drawn(2000, seed=8)
    moved = LabelledLogits("moved", 1, sample.logits + offset, sample.relevant)
    near, far = fit_scaling([sample]), fit_scaling([moved])
    assert far.slope == pytest.approx(near.slope, rel=1e-4)
    assert far.loss(moved) == pytest.approx(near.loss(sample), abs=1e-4)


@pytest.mark.parametrize("logits", [np.full(6, 3.0), np.array([0, 1, 2, 3, 4, np.nan])])
def test_logits_that_say_nothing_are_refused(logits: np.ndarray) -> None:
    sample = LabelledLogits("dull", 1, logits, np.arange(6) > 2)
    with pytest.raises(ScalingError, match="dull are all alike, or some are not finite"):
        fit_scaling([sample])


def test_logits_that_fall_with_relevance_are_refused() -> None:
    sample = drawn(2000, seed=7)
    turned = LabelledLogits("turned", 1, -sample.logits, sample.relevant)
    with pytest.raises(ScalingError, match="turned have no higher logits"):
        fit_scaling([turned])


DOCUMENTS = [
    f"{animal} {verb}"
    for animal in ("cats", "dogs", "birds", "frogs")
    for verb in (
        "sleep by day",
        "eat at night",
        "are loud",
        "swim badly",
        "hide well",
        "run fast",
        "grow old",
    )
]


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A collection in which every document answers the query of its own words."""
    pytest.importorskip("bm25s")
    folder = tmp_path / "texts"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        lines = [json.dumps({"_id": str(key), "text": text}) for key, text in enumerate(DOCUMENTS)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    rows = [f"{key}\t{key}\t1" for key in range(len(DOCUMENTS))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]))
    return folder


def test_every_logit_becomes_what_is_printed(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report_path = tmp_path / "scaled", tmp_path / "platt.json"
    command = ["zen-mini", str(out), "--data", str(texts), "--held-out", f"{texts}:test"]
    assert main([*command, "--precision", "fp32", "--json", str(report_path)]) == 0
    printed = capsys.readouterr().out
    report = json.loads(report_path.read_text())
    slope, level = report["slope"], report["level"]
    assert f"logits {slope:.3f} times as large{level:+.3f}" in " ".join(printed.split())
    (fitted,), (held_out,) = report["fitted"], report["held_out"]
    assert fitted.pop("collection") == str(texts)
    assert held_out.pop("collection") == f"{texts}:test"
    assert fitted == held_out
    assert fitted["num_queries"] == len(DOCUMENTS)
    assert fitted["loss_scaled"] < fitted["loss_before"]
    before, after = (
        ZenReranker.from_pretrained(model, activation="identity").score("cats at night", DOCUMENTS)
        for model in ("zen-mini", out)
    )
    # In the logits that were scaled: a slope makes their rounding errors larger, too.
    np.testing.assert_allclose((after - level) / slope, before, atol=1e-5 * before.std())


def test_rankings_of_a_model_in_16_bits_stay(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tiny_rerankers import save_reranker

    model = save_reranker(tmp_path / "model")
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(model)
    stock.to(torch.bfloat16).save_pretrained(model)
    save_scaled(load_checkpoint(model), 1.37, 0.21, tmp_path / "out")
    before, after = (
        ZenReranker.from_pretrained(folder, activation="identity").score("cats", DOCUMENTS)
        for folder in (model, tmp_path / "out")
    )
    np.testing.assert_allclose(after, 1.37 * before + 0.21, atol=1e-5 * before.std())


def test_scaled_model_is_an_ordinary_one(texts: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tiny_rerankers import save_reranker

    for kind in ("roberta", "modernbert"):
        model, out = save_reranker(tmp_path / kind, kind=kind), tmp_path / f"{kind}-scaled"
        save_scaled(load_checkpoint(model), 2.5, -0.75, out)
        stock = transformers.AutoModelForSequenceClassification
        before, after = (
            dict(stock.from_pretrained(folder).named_parameters()) for folder in (model, out)
        )
        changed = {name for name in before if (before[name] != after[name]).any()}
        assert len(changed) == 2
        for name in changed:
            expected = 2.5 * before[name] - (0.75 if name.endswith("bias") else 0.0)
            np.testing.assert_allclose(after[name].detach(), expected.detach(), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"num_labels": 3}, "has 3 labels"),
        ({"quantized": True}, "is quantized already"),
    ],
    ids=["labels", "quantized"],
)
def test_models_that_cannot_be_scaled_are_refused(
    kind: dict[str, Any],
    message: str,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("torch")
    from tiny_rerankers import save_reranker

    model = tmp_path / "model"
    if kind.pop("quantized", False):
        assert quantize(["zen-mini", str(model)]) == 0
    else:
        save_reranker(model, **kind)
    assert main([str(model), str(tmp_path / "out"), "--data", str(texts)]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_heads_without_a_bias_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from random_language_models import RANDOM_LANGUAGE_MODELS

    recipe = next(each for each in RANDOM_LANGUAGE_MODELS if not each.name.count("yes-no"))
    recipe.save(recipe.build(), tmp_path / "model")
    checkpoint = recipe.load(tmp_path / "model")
    with pytest.raises(CheckpointError, match="no classifier with a bias"):
        save_scaled(checkpoint, 2.0, 1.0, tmp_path / "out")


def test_collections_without_a_relevant_document_are_a_typed_error(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (texts / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n0\t0\t0\n")
    assert main(["zen-mini", str(tmp_path / "out"), "--data", str(texts)]) == 2
    assert "name another collection or split" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_queries_are_a_typed_error(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["zen-mini", str(tmp_path / "out"), "--data", str(texts), "--queries", "0"]
    assert main(command) == 2
    assert "--queries=0: it must be at least 1" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_stops_before_the_work(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "absent" / "platt.json"
    command = ["zen-mini", str(tmp_path / "out"), "--data", str(texts), "--json", str(report)]
    assert main(command) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
