"""Tokenizers of language models in miniature, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_tokenizers import SENTENCES
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from zen_fast.tokenization.language_model_tokenizers import QWEN2_PATTERN

ANSWERS = ("yes", "no", "Yes", "No", "true", "false")
PAGE = (*SENTENCES, *(word for word in ANSWERS for _ in range(40)), *["user: query\n\n"] * 9)
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def save_qwen2(folder: Path, model_type: str = "qwen3", **settings: Any) -> Path:
    """Byte-level BPE with the tokens of a chat; <think> is an added token but no special one."""
    import transformers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    vocab, merges = _trained(tokenizer, 700, ["<|endoftext|>"])
    saved = transformers.Qwen2Tokenizer(
        vocab=vocab,
        merges=merges,
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
        add_bos_token=False,
        **settings,
    )
    saved.add_tokens([AddedToken(token, normalized=False) for token in ("<think>", "</think>")])
    return _save(folder, saved, model_type)


def save_gemma(folder: Path, **settings: Any) -> Path:
    """BPE over whole texts, spaces included, with a token for every byte."""
    import transformers

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *BYTES]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    vocab, merges = _trained(tokenizer, 800, specials)
    saved = transformers.GemmaTokenizer(vocab=vocab, merges=merges, **settings)
    return _save(folder, saved, "gemma")


def save_llama(folder: Path, **settings: Any) -> Path:
    """BPE over whole texts with a space put before them."""
    import transformers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    vocab, merges = _trained(tokenizer, 800, ["<unk>", "<s>", "</s>", *BYTES])
    saved = transformers.LlamaTokenizer(vocab=vocab, merges=merges, **settings)
    return _save(folder, saved, "llama")


def save_t5(folder: Path, **settings: Any) -> Path:
    """Unigram, `a </s>`, with the answers of monoT5 and mT5 rerankers as single tokens."""
    import transformers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(PAGE, trainer)
    vocab = [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]
    known = {token for token, _ in vocab}
    vocab += [(f"▁{word}", -3.0) for word in ANSWERS if f"▁{word}" not in known]
    return _save(folder, transformers.T5Tokenizer(vocab=vocab, **settings), "t5")


LANGUAGE_MODEL_SAVERS = {
    "qwen2": save_qwen2,
    "gemma": save_gemma,
    "llama": save_llama,
    "t5": save_t5,
}
"""Family → saves such a tokenizer into a folder."""


def _trained(
    tokenizer: Tokenizer, vocab_size: int, specials: list[str]
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    is_byte_level = "ByteLevel" in str(tokenizer.pre_tokenizer)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if is_byte_level else [],
        max_token_length=12,
        show_progress=False,
    )
    tokenizer.train_from_iterator(PAGE, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def _save(folder: Path, tokenizer: Any, model_type: str) -> Path:
    tokenizer.save_pretrained(str(folder))
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder
