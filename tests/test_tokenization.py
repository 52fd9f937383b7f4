"""Pairs equal those of the tokenizer that transformers loads from the same folder."""

from __future__ import annotations

import json
import logging
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import transformers
from tiny_tokenizers import (
    ODD_TEXTS,
    SAVERS,
    random_text,
    rewrite_settings,
    save_bert,
    save_plain,
    save_roberta,
    save_xlm_roberta,
)
from tokenizers import Tokenizer, models, processors

from zen_fast.errors import CheckpointError, InvalidArgumentError, UnsupportedModelError
from zen_fast.tokenization import PairTokenizer, Truncation
from zen_fast.tokenization.stock_tokenizer import StockTokenizer, load_stock_tokenizer

LONGEST = 512


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One saved tokenizer of each kind."""
    return {kind: save(tmp_path_factory.mktemp(kind)) for kind, save in SAVERS.items()}


def load(folder: Path) -> StockTokenizer:
    config = json.loads((folder / "config.json").read_text())
    path = folder / "tokenizer_config.json"
    return load_stock_tokenizer(
        folder, config, json.loads(path.read_text()) if path.exists() else {}
    )


def stock_pair(tokenizer: Any, query: str, document: str, **options: Any) -> tuple[list, list]:
    """Ids and type ids of a stock tokenizer; it is called with lists, as for every real batch."""
    encoded = tokenizer([query], [document], **options)
    ids = encoded["input_ids"][0]
    return ids, encoded.get("token_type_ids", [[0] * len(ids)])[0]


def own_pair(tokenizer: PairTokenizer, query: str, document: str) -> tuple[list, list]:
    pair = tokenizer.encode_pairs([query], [document])[0]
    return pair.token_ids.tolist(), pair.token_type_ids.tolist()


def random_texts(seed: int) -> list[str]:
    rng = random.Random(seed)
    return [*ODD_TEXTS, *(random_text(rng, rng.randint(1, 30)) for _ in range(20))]


def assert_equal_pairs(folder: Path, seed: int = 0, num_pairs: int = 60) -> None:
    stock = transformers.AutoTokenizer.from_pretrained(str(folder))
    own = load(folder).pair_tokenizer(longest_supported=LONGEST)
    rng = random.Random(seed)
    texts = random_texts(seed)
    for query, document in zip(
        rng.choices(texts, k=num_pairs), rng.choices(texts, k=num_pairs), strict=True
    ):
        expected = stock_pair(stock, query, document, truncation=True, max_length=own.max_length)
        assert own_pair(own, query, document) == expected, (query, document)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("truncation", ["longest_first", "only_second"])
@pytest.mark.parametrize("kind", SAVERS)
def test_encode_pairs_equals_stock_at_every_max_length(
    folders: dict[str, Path], kind: str, truncation: Truncation, side: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tokenizer"
    shutil.copytree(folders[kind], folder)
    rewrite_settings(folder, truncation_side=side)
    stock = transformers.AutoTokenizer.from_pretrained(str(folder))
    settings = load(folder)
    num_special = settings.pair_tokenizer(longest_supported=LONGEST).layout.num_special_tokens
    rng = random.Random(f"{kind} {truncation} {side}")
    texts = random_texts(7)
    for max_length in [*range(num_special + 1, 60), 100, 333, LONGEST]:
        own = settings.pair_tokenizer(
            longest_supported=LONGEST, max_length=max_length, truncation=truncation
        )
        for query, document in zip(rng.choices(texts, k=8), rng.choices(texts, k=8), strict=True):
            try:
                expected = stock_pair(
                    stock, query, document, truncation=truncation, max_length=max_length
                )
            except Exception:  # the tokenizers library raises bare exceptions
                with pytest.raises(InvalidArgumentError, match="only_second"):
                    own_pair(own, query, document)
                continue
            assert own_pair(own, query, document) == expected, (max_length, query, document)


@pytest.mark.parametrize(
    "settings",
    [
        {"do_lower_case": False},
        {"do_lower_case": False, "strip_accents": True},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"split_special_tokens": True},
        {"model_input_names": ["input_ids", "attention_mask"]},
        {"model_max_length": 17},
        {"tokenizer_class": "BertTokenizerFast"},
        {"tokenizer_class": "ElectraTokenizer"},
        {"tokenizer_class": "PreTrainedTokenizerFast"},
        {"tokenizer_class": None},
        {"extra_special_tokens": ["<hl>", "zen"]},
        {"added_tokens_decoder": {"3": {"content": "[SEP]", "special": True, "lstrip": True}}},
    ],
    ids=str,
)
def test_tokenizer_config_overrides_bert_tokenizer_json(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    rewrite_settings(save_bert(tmp_path), **settings)
    assert_equal_pairs(tmp_path)


def test_tokenizer_config_overrides_other_classes(tmp_path: Path) -> None:
    for name, save, settings in (
        ("roberta", save_roberta, {"add_prefix_space": True}),
        ("xlm-roberta", save_xlm_roberta, {"add_prefix_space": False}),
        ("longformer", save_roberta, {"tokenizer_class": "LongformerTokenizer"}),
        ("plain", save_plain, {"do_lower_case": False, "model_max_length": 21}),
        ("typed", save_plain, {"model_input_names": ["input_ids", "token_type_ids"]}),
        ("bert-as-modernbert", save_plain, {"tokenizer_class": "BertTokenizer"}),
    ):
        folder = tmp_path / name
        folder.mkdir()
        rewrite_settings(save(folder), **settings)
        assert_equal_pairs(folder)


def test_bert_reading_an_xlm_roberta_tokenizer_equals_stock(tmp_path: Path) -> None:
    rewrite_settings(save_xlm_roberta(tmp_path), model_type="bert")
    assert_equal_pairs(tmp_path)


def test_legacy_special_tokens_map_equals_stock(tmp_path: Path) -> None:
    save_bert(tmp_path)
    config = tmp_path / "tokenizer_config.json"
    kept = {"do_lower_case": True, "tokenizer_class": "BertTokenizer"}
    config.write_text(json.dumps(kept))
    special = {"sep_token": {"content": "[CLS]", "lstrip": False, "rstrip": False}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(special))
    assert_equal_pairs(tmp_path)


def test_no_tokenizer_config_equals_stock(tmp_path: Path) -> None:
    (save_bert(tmp_path) / "tokenizer_config.json").unlink()
    assert_equal_pairs(tmp_path)


def test_baked_in_truncation_and_padding_equal_stock(tmp_path: Path) -> None:
    save_bert(tmp_path)
    path = str(tmp_path / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.enable_truncation(11, direction="left")
    tokenizer.enable_padding(length=128)
    tokenizer.save(path)
    assert load(tmp_path).truncation_side == "left"
    assert_equal_pairs(tmp_path)


def test_max_length_default_is_the_smaller_limit(tmp_path: Path) -> None:
    rewrite_settings(save_bert(tmp_path), model_max_length=40)
    assert load(tmp_path).pair_tokenizer(longest_supported=64).max_length == 40
    assert load(tmp_path).pair_tokenizer(longest_supported=32).max_length == 32
    rewrite_settings(tmp_path, model_max_length=int(1e30))
    assert load(tmp_path).pair_tokenizer(longest_supported=64).max_length == 64


def test_max_length_out_of_range_raises(folders: dict[str, Path]) -> None:
    settings = load(folders["bert"])
    with pytest.raises(InvalidArgumentError, match=r"max_length=65 .* 64 tokens"):
        settings.pair_tokenizer(longest_supported=64, max_length=65)
    with pytest.raises(InvalidArgumentError, match=r"max_length=3 .* at least 4"):
        settings.pair_tokenizer(longest_supported=64, max_length=3)
    with pytest.raises(InvalidArgumentError, match="truncation='only_first'"):
        settings.pair_tokenizer(longest_supported=64, truncation="only_first")  # type: ignore[arg-type]


def test_encode_pairs_long_document_equals_stock(folders: dict[str, Path]) -> None:
    document = random_text(random.Random(1), 20_000)
    assert len(document) > 100_000
    for kind in ("bert", "roberta", "xlm-roberta"):
        stock = transformers.AutoTokenizer.from_pretrained(str(folders[kind]))
        own = load(folders[kind]).pair_tokenizer(longest_supported=LONGEST)
        expected = stock_pair(stock, "a query", document, truncation=True, max_length=LONGEST)
        assert own_pair(own, "a query", document) == expected


def test_encode_pairs_repairs_surrogates(folders: dict[str, Path]) -> None:
    own = load(folders["roberta"]).pair_tokenizer(longest_supported=LONGEST)
    assert own_pair(own, "q", "a \ud800 b") == own_pair(own, "q", "a \ufffd b")
    assert own_pair(own, "q\udc80", "\ud800") == own_pair(own, "q\ufffd", "\ufffd")
    assert own_pair(own, "q", "\ud83d\ude00") == own_pair(own, "q", "😀")


def test_encode_pairs_that_cuts_queries_warns_once(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(folders["bert"])
    caplog.set_level(logging.WARNING, logger="zen_fast")
    own = settings.pair_tokenizer(longest_supported=LONGEST, max_length=20)
    for _ in range(2):
        own.encode_pairs(["zen " * 30, "zen ", "zen " * 30], ["fits", "zen " * 16, "fits"])
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("1 of 2 queries were cut off to fit into max_length=20 tokens")
    assert 'truncation="only_second"' in message
    chunking = settings.pair_tokenizer(
        longest_supported=LONGEST, max_length=20, long_documents="chunk"
    )
    chunking.encode_windows(["zen " * 30], ["zen " * 90])
    assert caplog.records[1].getMessage().startswith("1 of 1 queries were cut off")
    assert len(caplog.records) == 2


def test_encode_pairs_that_cuts_documents_warns_once(
    folders: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    settings = load(folders["bert"])
    caplog.set_level(logging.WARNING, logger="zen_fast")
    own = settings.pair_tokenizer(longest_supported=LONGEST, max_length=20)
    own.encode_pairs(["zen"], ["zen " * 16])
    assert not caplog.records
    documents = ["zen " * 17, "short", "zen " * 90] * 20
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: own.encode_pairs(["zen"] * 60, documents), range(16)))
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("40 of 60 documents were cut off to fit into max_length=20 tokens")
    assert 'long_documents="chunk"' in message
    settings.pair_tokenizer(longest_supported=LONGEST, max_length=20).encode_pairs(
        ["zen"], ["zen " * 17]
    )
    assert len(caplog.records) == 2


def test_encode_pairs_many_at_once_equals_one_by_one(folders: dict[str, Path]) -> None:
    own = load(folders["bert"]).pair_tokenizer(longest_supported=LONGEST, max_length=24)
    texts = random_texts(3)
    pairs = own.encode_pairs(texts, list(reversed(texts)))
    for query, document, pair in zip(texts, reversed(texts), pairs, strict=True):
        assert (pair.token_ids.tolist(), pair.token_type_ids.tolist()) == own_pair(
            own, query, document
        )
        assert pair.token_ids.dtype == pair.token_type_ids.dtype == "int32"
    assert own.encode_pairs([], []) == []


def test_encode_pairs_in_small_groups_equals_one_group(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = load(folders["roberta"]).pair_tokenizer(longest_supported=LONGEST)
    texts = random_texts(4)
    expected = [pair.token_ids.tolist() for pair in own.encode_pairs(texts, texts[::-1])]
    monkeypatch.setattr("zen_fast.tokenization.text_tokenizer.GROUP_CHARACTERS", 50)
    assert [pair.token_ids.tolist() for pair in own.encode_pairs(texts, texts[::-1])] == expected


def test_encode_pairs_from_many_threads_equals_one_thread(folders: dict[str, Path]) -> None:
    settings = load(folders["xlm-roberta"])
    own = settings.pair_tokenizer(longest_supported=LONGEST, max_length=20, cache_bytes=5_000)
    texts = random_texts(5)
    jobs = [(texts[i % len(texts)], texts[(7 * i) % len(texts)]) for i in range(600)]
    expected = [own_pair(own, *job) for job in jobs]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda job: own_pair(own, *job), jobs)) == expected


def test_missing_tokenizer_json_raises_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing.*save_pretrained"):
        load_stock_tokenizer(tmp_path, {"model_type": "bert"}, {})


def test_broken_tokenizer_json_raises(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_stock_tokenizer(tmp_path, {"model_type": "bert"}, {})


def test_unknown_tokenizer_class_raises(tmp_path: Path) -> None:
    rewrite_settings(save_bert(tmp_path), tokenizer_class="BarthezTokenizer")
    with pytest.raises(UnsupportedModelError, match=r"BarthezTokenizer.*BertTokenizer"):
        load(tmp_path)


def test_class_of_another_kind_of_vocabulary_raises(tmp_path: Path) -> None:
    rewrite_settings(save_roberta(tmp_path), tokenizer_class="BertTokenizer")
    with pytest.raises(UnsupportedModelError, match=r"BPE model.*WordPiece"):
        load(tmp_path)


def test_malformed_added_tokens_raise(tmp_path: Path) -> None:
    for added in ({"x": {"content": "a"}}, ["a"]):
        rewrite_settings(save_bert(tmp_path), added_tokens_decoder=added)
        with pytest.raises(CheckpointError, match="malformed added_tokens_decoder"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"special_tokens_map\.json is no JSON"),
        ('["[CLS]"]', r"special_tokens_map\.json holds no JSON object"),
        ('{"cls_token": {"lstrip": false}}', "cls_token={'lstrip': False}"),
        ('{"additional_special_tokens": [7]}', "extra_special_tokens=7"),
    ],
)
def test_malformed_special_tokens_map_raises(content: str, message: str, tmp_path: Path) -> None:
    (save_bert(tmp_path) / "tokenizer_config.json").unlink()
    (tmp_path / "special_tokens_map.json").write_text(content)
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path)


def test_bad_truncation_side_raises(tmp_path: Path) -> None:
    rewrite_settings(save_bert(tmp_path), truncation_side="middle")
    with pytest.raises(UnsupportedModelError, match="truncation_side='middle'"):
        load(tmp_path)


def test_layout_that_swaps_the_pair_raises() -> None:
    vocab = {"[UNK]": 0, "[SEP]": 1, "what": 2, "is": 3, "a": 4, "x": 5}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    for template in ("$B [SEP] $A", "$A [SEP] $B [SEP] $A"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A", pair=template, special_tokens=[("[SEP]", 1)]
        )
        with pytest.raises(UnsupportedModelError, match="post-processor"):
            PairTokenizer(tokenizer, max_length=None)


def test_layout_without_special_tokens_equals_stock() -> None:
    vocab = {"[UNK]": 0, "what": 1, "is": 2, "a": 3, "x": 4}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="[UNK]"))
    own = PairTokenizer(Tokenizer.from_str(tokenizer.to_str()), max_length=None)
    for query, document in (("what", "x"), ("", "a"), ("is", "")):
        expected = tokenizer.encode(query, document)
        assert own_pair(own, query, document) == (expected.ids, expected.type_ids)
