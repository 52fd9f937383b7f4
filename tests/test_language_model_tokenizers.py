"""Language models' tokenizers give the ids of the one that transformers loads from the folder."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import transformers
from tiny_language_models import LANGUAGE_MODEL_SAVERS, save_llama, save_qwen2
from tiny_tokenizers import ODD_TEXTS, SENTENCES, random_text, rewrite_settings

from zen_fast.tokenization.stock_tokenizer import StockTokenizer, load_stock_tokenizer


def load(folder: Path) -> StockTokenizer:
    config, settings = (
        json.loads((folder / name).read_text()) for name in ("config.json", "tokenizer_config.json")
    )
    return load_stock_tokenizer(folder, config, settings)


def assert_equal_ids(folder: Path) -> None:
    stock: Any = transformers.AutoTokenizer.from_pretrained(str(folder))
    own = load(folder)
    rng = random.Random(0)
    chat = "<|im_start|>user\nis it?<|im_end|>\n<think>\n\n</think> </s><eos>"
    texts = [*ODD_TEXTS, *SENTENCES, chat, *(random_text(rng, 12) for _ in range(20))]
    for text in texts:
        for special in (False, True):
            expected = stock(text, add_special_tokens=special)["input_ids"]
            assert own.tokenizer.encode(text, add_special_tokens=special).ids == expected, text
    pairs = own.pair_tokenizer(longest_supported=4096)
    for query, document in zip(texts, texts[::-1], strict=True):
        expected = stock([query], [document])["input_ids"][0]
        assert pairs.encode_pairs([query], [document])[0].token_ids.tolist() == expected


@pytest.mark.parametrize("family", LANGUAGE_MODEL_SAVERS)
def test_ids_equal_stock(tmp_path: Path, family: str) -> None:
    assert_equal_ids(LANGUAGE_MODEL_SAVERS[family](tmp_path))


@pytest.mark.parametrize(
    ("save", "settings"),
    [
        (save_qwen2, {"model_type": "qwen2", "tokenizer_class": "LlamaTokenizer"}),
        (save_qwen2, {"model_type": "llama", "tokenizer_class": "LlamaTokenizer"}),
        (save_qwen2, {"add_eos_token": True}),
        (save_qwen2, {"tokenizer_class": "PreTrainedTokenizerFast"}),
        (save_llama, {"add_bos_token": True, "legacy": True}),
        (save_llama, {"add_prefix_space": False}),
    ],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_settings_change_ids_as_they_change_stock(
    tmp_path: Path, save: Any, settings: dict[str, Any]
) -> None:
    assert_equal_ids(rewrite_settings(save(tmp_path), **settings))
