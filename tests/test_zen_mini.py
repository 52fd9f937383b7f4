"""The embedded model: small, loadable by stock transformers, and right about the climate."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from climate_example import DOCUMENTS, QUERY, stated_scores

import zen_fast
from zen_fast import ZenReranker

FOLDER = Path(zen_fast.__file__).parent / "models" / "zen-mini"
MAX_BYTES = 30_000_000


@pytest.fixture(scope="module")
def reranker() -> ZenReranker:
    return ZenReranker.from_pretrained()


def test_zen_mini_is_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= MAX_BYTES


def test_zen_mini_puts_the_causes_of_climate_change_first(reranker: ZenReranker) -> None:
    sunny, gases, fuels = reranker.score(QUERY, DOCUMENTS[:3])
    assert min(gases, fuels) > 0.5 > sunny


def test_zen_mini_scores_sunny_weather_low(reranker: ZenReranker) -> None:
    assert reranker.score(QUERY, DOCUMENTS[:1])[0] < 0.2


def test_card_states_the_scores_of_the_climate_example(reranker: ZenReranker) -> None:
    stated = stated_scores((FOLDER / "README.md").read_text(encoding="utf-8"))
    assert reranker.score(QUERY, DOCUMENTS[:3]).round(2).tolist() == pytest.approx(stated)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_zen_mini_gives_the_logits_of_stock_transformers(backend: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        FOLDER, dtype=torch.float32
    ).eval()
    with torch.inference_mode():
        stock = [
            # As lists: for a lone pair the stock tokenizer takes an empty text for no second text.
            model(**tokenizer([QUERY], [text], truncation=True, return_tensors="pt")).logits.item()
            for text in DOCUMENTS
        ]
    ours = ZenReranker.from_pretrained(backend=backend, activation="identity")
    np.testing.assert_allclose(ours.score(QUERY, DOCUMENTS), stock, atol=1e-4 * np.std(stock))


def test_zen_mini_scores_like_cross_encoder(reranker: ZenReranker) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
    stock = sentence_transformers.CrossEncoder(
        str(FOLDER), device="cpu", model_kwargs={"dtype": "float32"}
    )
    pairs = [(QUERY, text) for text in DOCUMENTS]
    np.testing.assert_allclose(
        reranker.predict(pairs), stock.predict(pairs, show_progress_bar=False), atol=1e-5
    )
    ours, theirs = (model.rank(QUERY, DOCUMENTS) for model in (reranker, stock))
    assert [row["corpus_id"] for row in ours] == [row["corpus_id"] for row in theirs]
