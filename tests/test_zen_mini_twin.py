"""The embedded twin: small, exact, and not behind zen-mini."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from climate_example import DOCUMENTS, QUERY, stated_scores

import zen_fast
from zen_fast import ZenReranker

FOLDER = Path(zen_fast.__file__).parent / "models" / "zen-mini-twin"
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"
MAX_BYTES = 30_000_000
MAX_LOST_POINTS = 0.5


def test_twin_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MAX_BYTES


def test_twin_puts_the_causes_of_climate_change_first() -> None:
    sunny, gases, fuels = ZenReranker.from_pretrained("zen-mini-twin").score(QUERY, DOCUMENTS[:3])
    assert min(gases, fuels) > 0.5 > sunny


def test_card_states_the_scores_of_the_climate_example() -> None:
    stated = stated_scores((FOLDER / "README.md").read_text(encoding="utf-8"))
    scores = ZenReranker.from_pretrained("zen-mini-twin").score(QUERY, DOCUMENTS[:3])
    assert scores.round(2).tolist() == pytest.approx(stated)


def test_twin_has_the_words_and_positions_of_zen_mini() -> None:
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    theirs, ours = (
        load_file(FOLDER.parent / name / "model.safetensors")
        for name in ("zen-mini", "zen-mini-twin")
    )
    assert theirs.keys() == ours.keys()
    for part in ("word", "position"):
        name = f"bert.embeddings.{part}_embeddings.weight"
        assert (theirs[name] == ours[name]).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_twin_gives_the_logits_of_the_stock_modules_under_its_pattern(backend: str) -> None:
    pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from random_query_independent import query_independent_logits

    stock = transformers.BertForSequenceClassification.from_pretrained(str(FOLDER)).float().eval()
    twin = ZenReranker.from_pretrained("zen-mini-twin", backend=backend, activation="identity")
    pairs = twin.engine.encode([QUERY] * len(DOCUMENTS), DOCUMENTS).sequences
    expected = np.concatenate(
        [query_independent_logits(stock, [pair])[0].detach().numpy() for pair in pairs]
    )
    np.testing.assert_allclose(twin.score(QUERY, DOCUMENTS), expected, atol=1e-4 * np.std(expected))


def test_reading_the_query_once_changes_no_bit() -> None:
    once, often = (
        ZenReranker.from_pretrained("zen-mini-twin", prefix_cache_mb=megabytes)
        for megabytes in (256, 0)
    )
    assert (once.score(QUERY, DOCUMENTS) == often.score(QUERY, DOCUMENTS)).all()
    assert once.prefix_cache_statistics().saved_tokens > 0


def test_committed_quality_is_within_half_a_point_of_zen_mini() -> None:
    report = json.loads((RESULTS / "zen-mini-twin-quality-int8.json").read_text())
    columns = [part["columns"] for part in report["collections"]]
    assert len(columns) == 12
    zen_mini, twin = (fmean(pair[place]["ndcg_at_10"] for pair in columns) for place in (0, 1))
    assert twin >= zen_mini - MAX_LOST_POINTS
