"""What transformers' tokenizer classes of language models build around a vocabulary.

A table beside `tokenizer_classes`, read from transformers 5.23 as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from zen_fast.errors import UnsupportedModelError
from zen_fast.tokenization.tokenizer_classes import (
    TokenizerClass,
    TokenizerSettings,
    plain_byte_level,
    rebuild_camembert,
    require_model,
)

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Cuts a text into the stretches that no token crosses."""


def _rebuild_qwen2(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    tokenizer = Tokenizer(plain_byte_level(source, path))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(
                add_prefix_space=settings.flag("add_prefix_space", False), use_regex=False
            ),
        ]
    )
    tokenizer.post_processor = source.post_processor
    return tokenizer


def _rebuild_gemma(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    model = require_model(source, models.BPE, path)
    model.dropout = None
    model.unk_token = settings.special_tokens["unk_token"]
    model.fuse_unk = model.byte_fallback = True
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.post_processor = source.post_processor
    return tokenizer


def _rebuild_llama(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    model = require_model(source, models.BPE, path)
    model.dropout = model.unk_token = None
    model.fuse_unk = model.byte_fallback = True
    tokenizer = Tokenizer(model)
    prepend_scheme = "never"
    if settings.values.get("add_prefix_space") in (None, True):
        prepend_scheme = "always" if settings.flag("legacy", False) else "first"
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
        replacement="▁", prepend_scheme=prepend_scheme, split=False
    )
    tokenizer.post_processor = source.post_processor
    return tokenizer


def _rebuild_t5(source: Tokenizer, settings: TokenizerSettings, path: Path) -> Tokenizer:
    if source.token_to_id(settings.special_tokens["unk_token"]) != 2:
        raise UnsupportedModelError(f"{path}: T5's unknown token must have id 2")
    return rebuild_camembert(source, settings, path)


def _saved_pairs(tokenizer: Tokenizer, settings: TokenizerSettings) -> Any:
    """tokenizer.json's own post-processor; add_bos_token and its like do not apply beside it."""
    if tokenizer.post_processor is not None:
        return tokenizer.post_processor
    return processors.TemplateProcessing(single="$A:0", pair="$A:0 $B:1", special_tokens=[])


def _t5_pairs(tokenizer: Tokenizer, settings: TokenizerSettings) -> Any:
    eos = settings.special(tokenizer, "eos_token")
    return processors.TemplateProcessing(
        single=["$A", eos[0]], pair=["$A", eos[0], "$B", eos[0]], special_tokens=[eos]
    )


_QWEN2_TOKENS = dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>")
_LLAMA_TOKENS = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_T5_TOKENS = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_GEMMA_TOKENS = {
    "unk_token": "<unk>",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}

LANGUAGE_MODEL_CLASSES: Mapping[str, TokenizerClass] = {
    "Qwen2Tokenizer": TokenizerClass(_QWEN2_TOKENS, False, _rebuild_qwen2, _saved_pairs),
    "GemmaTokenizer": TokenizerClass(_GEMMA_TOKENS, False, _rebuild_gemma, _saved_pairs),
    "LlamaTokenizer": TokenizerClass(_LLAMA_TOKENS, False, _rebuild_llama, _saved_pairs),
    "T5Tokenizer": TokenizerClass(_T5_TOKENS, False, _rebuild_t5, _t5_pairs),
}

CLASS_OF_LANGUAGE_MODEL: Mapping[str, str] = {
    "gemma": "GemmaTokenizer",
    "gemma2": "GemmaTokenizer",
    "mistral": "TokenizersBackend",
    "mt5": "T5Tokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
    "t5": "T5Tokenizer",
}
"""The class of a checkpoint that names none; see `CLASS_OF_MODEL_TYPE`."""

NAMED_WRONGLY = frozenset({"qwen2"})
"""Model types whose checkpoints are known to name the wrong class: the table's is taken."""
