"""Trimming a WordPiece vocabulary."""

from collections import Counter

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from zen_fast.train.errors import TrainingDataError
from zen_fast.train.vocabulary import count_tokens, kept_token_ids, token_id, trim_tokenizer

_PIECES = [
    *("[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *"aeklmnrst",
    *(f"##{letter}" for letter in "aeklmnrst"),
    *("rank", "lake", "##er", "##ers", "melt", "stream", "market"),
]


@pytest.fixture
def tokenizer() -> Tokenizer:
    vocabulary = {piece: index for index, piece in enumerate(_PIECES)}
    built = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer(lowercase=True)
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    built.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    cls_sep = [(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")]
    built.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=cls_sep
    )
    return built


def _trim(tokenizer: Tokenizer, texts: list[str], num_words: int) -> Tokenizer:
    counts = count_tokens(tokenizer, texts)
    kept = kept_token_ids(tokenizer, counts, 5 + 18 + num_words)
    return trim_tokenizer(tokenizer, kept)


def test_trim_tokenizer_keeps_frequent_words_whole(tokenizer: Tokenizer) -> None:
    trimmed = _trim(tokenizer, ["market market rankers lake"], num_words=1)
    assert trimmed.encode("market", add_special_tokens=False).tokens == ["market"]


def test_trim_tokenizer_spells_dropped_words_without_unknown(tokenizer: Tokenizer) -> None:
    trimmed = _trim(tokenizer, ["market"], num_words=1)
    tokens = trimmed.encode("stream", add_special_tokens=False).tokens
    assert tokens == ["s", "##t", "##r", "##e", "##a", "##m"]


def test_trim_tokenizer_renumbers_without_gaps(tokenizer: Tokenizer) -> None:
    trimmed = _trim(tokenizer, ["market"], num_words=2)
    ids = trimmed.get_vocab().values()
    assert sorted(ids) == list(range(25))
    assert "[unused0]" not in trimmed.get_vocab()


def test_trim_tokenizer_keeps_special_tokens_consistent(tokenizer: Tokenizer) -> None:
    trimmed = _trim(tokenizer, ["lake"], num_words=1)
    encoding = trimmed.encode("lake", "lake")
    assert encoding.tokens == ["[CLS]", "lake", "[SEP]", "lake", "[SEP]"]
    assert encoding.ids == [trimmed.token_to_id(token) for token in encoding.tokens]
    assert encoding.type_ids == [0, 0, 0, 1, 1]


def test_kept_token_ids_weighs_general_english_beside_the_training_text(
    tokenizer: Tokenizer,
) -> None:
    rank, lake, market = (token_id(tokenizer, word) for word in ("rank", "lake", "market"))
    counts = Counter({market: 3, lake: 2})
    assert {lake, market} <= set(kept_token_ids(tokenizer, counts, 5 + 18 + 2))
    kept = kept_token_ids(tokenizer, counts, 5 + 18 + 2, general_weight=2.0)
    assert {rank, lake} <= set(kept)  # first and second of the vocabulary's words
    assert market not in kept


def test_kept_token_ids_breaks_ties_by_old_order(tokenizer: Tokenizer) -> None:
    kept = kept_token_ids(tokenizer, Counter(), 5 + 18 + 1)
    assert tokenizer.token_to_id("rank") in kept
    assert tokenizer.token_to_id("lake") not in kept


def test_token_id_raises_for_absent_token(tokenizer: Tokenizer) -> None:
    with pytest.raises(TrainingDataError, match="no <s>"):
        token_id(tokenizer, "<s>")
