"""Tokenizers that transformers converts from SentencePiece models keep their normalization."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import transformers
from tiny_tokenizers import ODD_TEXTS, SENTENCES, random_text
from window_spans import assert_spans_show_the_words

from zen_fast.tokenization.stock_tokenizer import load_stock_tokenizer

pytest.importorskip("google.protobuf", reason="transformers reads SentencePiece through protobuf")
sentencepiece = pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A SentencePiece model that normalizes as XLM-RoBERTa does, and folds case to be seen."""
    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "text").write_text("\n".join(SENTENCES), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "trained"),
        vocab_size=150,
        model_type="unigram",
        normalization_rule_name="nmt_nfkc_cf",
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return (folder / "trained.model").read_bytes()


@pytest.mark.parametrize(
    ("tokenizer_class", "model_type"),
    [("XLMRobertaTokenizer", "xlm-roberta"), ("CamembertTokenizer", "camembert")],
)
def test_encode_pairs_equals_stock_with_a_precompiled_normalizer(
    tmp_path: Path, model_bytes: bytes, tokenizer_class: str, model_type: str
) -> None:
    source, saved = tmp_path / "source", tmp_path / "saved"
    source.mkdir()
    config = {"model_type": model_type}
    (source / "sentencepiece.bpe.model").write_bytes(model_bytes)
    (source / "config.json").write_text(json.dumps(config))
    loaded = getattr(transformers, tokenizer_class).from_pretrained(str(source))
    loaded.save_pretrained(str(saved))
    (saved / "config.json").write_text(json.dumps(config))
    tokenizer_json = json.loads((saved / "tokenizer.json").read_text(encoding="utf-8"))
    assert tokenizer_json["normalizer"]["type"] == "Precompiled"

    stock = transformers.AutoTokenizer.from_pretrained(str(saved))
    settings = json.loads((saved / "tokenizer_config.json").read_text())
    loaded_here = load_stock_tokenizer(saved, config, settings)
    own = loaded_here.pair_tokenizer(longest_supported=64)
    rng = random.Random(0)
    texts = [*ODD_TEXTS, *SENTENCES, *(random_text(rng, 12) for _ in range(20))]
    for query in texts:
        document = rng.choice(texts)
        expected = stock([query], [document], truncation=True, max_length=64)["input_ids"][0]
        assert own.encode_pairs([query], [document])[0].token_ids.tolist() == expected
    assert_spans_show_the_words(
        lambda max_length: loaded_here.pair_tokenizer(
            longest_supported=64, max_length=max_length, long_documents="chunk"
        ),
        loaded_here.tokenizer,
    )
