"""What each of transformers' tokenizer classes builds around the vocabulary of tokenizer.json.

Read from transformers 5.23. A class that is not in the table is not supported: guessing would give
other ids than the stock model gets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from zen_fast.errors import CheckpointError, UnsupportedModelError

SPECIAL_TOKEN_NAMES = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)


@dataclass(frozen=True)
class TokenizerSettings:
    """A tokenizer's settings, defaults of its class included."""

    values: Mapping[str, Any]
    special_tokens: Mapping[str, str]
    """Name such as "cls_token" → the token."""
    extra_special_tokens: tuple[str, ...]
    added_tokens: Mapping[int, AddedToken]
    """Id → token outside the model's vocabulary, or inside it but never split."""

    def flag(self, name: str, default: bool) -> bool:
        return bool(self.values.get(name, default))

    def special(self, tokenizer: Tokenizer, name: str) -> tuple[str, int]:
        """The special token `name` with its id."""
        token = self.special_tokens[name]
        index = tokenizer.token_to_id(token)
        if index is None:
            raise CheckpointError(
                f"tokenizer.json has no token {token!r}, which tokenizer_config.json names as "
                f"{name}"
            )
        return token, index


@dataclass(frozen=True)
class TokenizerClass:
    """One tokenizer class of transformers."""

    special_tokens: Mapping[str, str]
    """Defaults of the named special tokens."""
    uses_token_types: bool
    rebuild: Callable[[Tokenizer, TokenizerSettings, Path], Tokenizer]
    """(tokenizer.json loaded, settings, its path) → tokenizer without added tokens."""
    post_processor: Callable[[Tokenizer, TokenizerSettings], Any]


def _rebuild_word_piece(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    model = require_model(source, models.WordPiece, path)
    model.unk_token = settings.special_tokens["unk_token"]
    model.max_input_chars_per_word = 100
    model.continuing_subword_prefix = "##"
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", True),
        strip_accents=settings.values.get("strip_accents"),
        lowercase=settings.flag("do_lower_case", True),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def plain_byte_level(source: Tokenizer, path: Path) -> Any:
    """The byte-level BPE model of `source` with the settings that transformers always takes."""
    model = require_model(source, models.BPE, path)
    model.dropout = None
    model.unk_token = None
    model.continuing_subword_prefix = ""
    model.end_of_word_suffix = ""
    model.fuse_unk = model.byte_fallback = model.ignore_merges = False
    return model


def _rebuild_byte_level(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    tokenizer = Tokenizer(plain_byte_level(source, path))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
        add_prefix_space=settings.flag("add_prefix_space", False)
    )
    return tokenizer


def _rebuild_xlm_roberta(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    if source.token_to_id(settings.special_tokens["unk_token"]) != 3:
        raise UnsupportedModelError(f"{path}: XLM-RoBERTa's unknown token must have id 3")
    return rebuild_camembert(source, settings, path)


def rebuild_camembert(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    """SentencePiece's Unigram over words between spaces, each with a mark before it."""
    tokenizer = Tokenizer(_unigram(source, settings, path))
    charsmap = _precompiled(source.normalizer)
    if charsmap is not None:
        tokenizer.normalizer = charsmap
    prepend_scheme = "always" if settings.flag("add_prefix_space", True) else "never"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=prepend_scheme),
        ]
    )
    return tokenizer


def _rebuild_deberta_v2(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    tokenizer = Tokenizer(_unigram(source, settings, path))
    lowercase = [normalizers.Lowercase()] if settings.flag("do_lower_case", False) else []
    tokenizer.normalizer = normalizers.Sequence(
        [
            *lowercase,
            normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
            normalizers.NFC(),
            normalizers.Strip(left=False, right=True),
        ]
    )
    punctuation = pre_tokenizers.Punctuation(behavior="isolated")
    prepend_scheme = "always" if settings.flag("add_prefix_space", True) else "first"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            *([punctuation] if settings.flag("split_by_punct", False) else []),
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=prepend_scheme),
        ]
    )
    return tokenizer


def require_model(source: Tokenizer, kind: type[Any], path: Path) -> Any:
    """The model of `source`.

    Raises:
        UnsupportedModelError: it is not of this kind.
    """
    if not isinstance(source.model, kind):
        raise UnsupportedModelError(
            f"{path} holds a {type(source.model).__name__} model where its tokenizer class needs "
            f"{kind.__name__}"
        )
    return source.model


def _unigram(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Any:
    """The Unigram model, provided that transformers would build it with the same unknown id."""
    model = require_model(source, models.Unigram, path)
    content = path.read_bytes()
    saved = re.search(rb'"unk_id"\s*:\s*(\d+)', content)
    expected = source.token_to_id(settings.special_tokens["unk_token"])
    if saved is None or int(saved[1]) != expected:
        raise UnsupportedModelError(
            f"{path} does not have {settings.special_tokens['unk_token']!r} for its unknown id"
        )
    if re.search(rb'"byte_fallback"\s*:\s*true', content):
        raise UnsupportedModelError(f"{path}: Unigram with byte_fallback is not supported")
    return model


def _precompiled(normalizer: Any) -> Any:
    """SentencePiece's normalization table in `normalizer`, None where there is none."""
    if isinstance(normalizer, normalizers.Sequence):
        parts: Any = normalizer  # iterable, but its stub does not say so
        return next(filter(None, map(_precompiled, parts)), None)
    return normalizer if isinstance(normalizer, normalizers.Precompiled) else None


def _bert_pairs(tokenizer: Tokenizer, settings: TokenizerSettings) -> Any:
    cls, sep = (settings.special(tokenizer, name) for name in ("cls_token", "sep_token"))
    return processors.TemplateProcessing(
        single=f"{cls[0]}:0 $A:0 {sep[0]}:0",
        pair=f"{cls[0]}:0 $A:0 {sep[0]}:0 $B:1 {sep[0]}:1",
        special_tokens=[cls, sep],
    )


def _roberta_pairs(tokenizer: Tokenizer, settings: TokenizerSettings) -> Any:
    sep, cls = (settings.special(tokenizer, name) for name in ("sep_token", "cls_token"))
    return processors.RobertaProcessing(sep, cls)


def _double_separator_pairs(first: str, last: str) -> Callable[[Tokenizer, TokenizerSettings], Any]:
    def build(tokenizer: Tokenizer, settings: TokenizerSettings) -> Any:
        start, stop = (settings.special(tokenizer, name) for name in (first, last))
        return processors.TemplateProcessing(
            single=[start[0], "$A", stop[0]],
            pair=[start[0], "$A", stop[0], stop[0], "$B", stop[0]],
            special_tokens=[start, stop],
        )

    return build


_BERT_TOKENS = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_DEBERTA_TOKENS = {"bos_token": "[CLS]", "eos_token": "[SEP]", **_BERT_TOKENS}
_ROBERTA_TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_MPNET_TOKENS = {**_ROBERTA_TOKENS, "unk_token": "[UNK]"}

_BERT = TokenizerClass(_BERT_TOKENS, True, _rebuild_word_piece, _bert_pairs)
_ROBERTA = TokenizerClass(_ROBERTA_TOKENS, False, _rebuild_byte_level, _roberta_pairs)

TOKENIZER_CLASSES: Mapping[str, TokenizerClass] = {
    "BertTokenizer": _BERT,
    "ElectraTokenizer": _BERT,
    "MobileBertTokenizer": _BERT,
    "DistilBertTokenizer": TokenizerClass(_BERT_TOKENS, False, _rebuild_word_piece, _bert_pairs),
    "RobertaTokenizer": _ROBERTA,
    "LongformerTokenizer": _ROBERTA,
    "MPNetTokenizer": TokenizerClass(_MPNET_TOKENS, False, _rebuild_word_piece, _roberta_pairs),
    "XLMRobertaTokenizer": TokenizerClass(
        _ROBERTA_TOKENS,
        False,
        _rebuild_xlm_roberta,
        _double_separator_pairs("bos_token", "eos_token"),
    ),
    "CamembertTokenizer": TokenizerClass(
        _ROBERTA_TOKENS,
        False,
        rebuild_camembert,
        _double_separator_pairs("bos_token", "eos_token"),
    ),
    "DebertaTokenizer": TokenizerClass(
        _DEBERTA_TOKENS,
        True,
        _rebuild_byte_level,
        _double_separator_pairs("cls_token", "sep_token"),
    ),
    "DebertaV2Tokenizer": TokenizerClass(_DEBERTA_TOKENS, True, _rebuild_deberta_v2, _bert_pairs),
}

CLASS_OF_MODEL_TYPE: Mapping[str, str] = {
    "bert": "BertTokenizer",
    "distilbert": "BertTokenizer",
    "electra": "BertTokenizer",
    "mobilebert": "BertTokenizer",
    "nomic_bert": "BertTokenizer",
    "roberta": "RobertaTokenizer",
    "roberta-prelayernorm": "RobertaTokenizer",
    "xlm-roberta": "XLMRobertaTokenizer",
    "xlm-roberta-xl": "TokenizersBackend",
    "gte": "XLMRobertaTokenizer",
    "camembert": "CamembertTokenizer",
    "deberta": "DebertaTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "mpnet": "MPNetTokenizer",
    "modernbert": "TokenizersBackend",
}
"""The class of a checkpoint that names none; TokenizersBackend is taken whatever it names."""
