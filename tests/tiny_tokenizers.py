"""Real tokenizers in miniature: trained on a page of text and saved as transformers saves them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

SENTENCES = (
    "what causes climate change and how fast does it go?",
    "Greenhouse gases trap heat; carbon dioxide is the largest of them.",
    "Berlin had a population of 3,520,031 registered inhabitants in 2019.",
    "the museum's café opens at 10:30 — tickets cost 12€",
    "Der Fluß fließt durch die Städte, naïve Reisende fotografieren ihn.",
    "人工知能は検索を変える 机器学习 모델",
    "def rerank(query, documents): return sorted(documents)",
    "A cross-encoder reads the query and the document together.",
    "zen, zen, zen; the quick brown fox jumps over the lazy dogs",
    "reranking retrieval tokens truncation padding attention embeddings",
)

ODD_TEXTS = (
    "",
    " ",
    "\n\t",
    "a",
    "É",
    "  leading and trailing  ",
    "tab\tand\nnewline\r\nmixed",
    "emoji 😀👩‍👩‍👧 and e\u0301 combining",
    "nul \x00 inside",
    "zero\u200bwidth \ufeff bom \xa0 hard space",
    "[SEP] spelled [CLS] out </s> <s> <pad> [MASK] <mask>",
    "x" * 300,
    "ÅÄÖ İstanbul ǅ ﬁ ½ ①",
    "人工知能",
)


def random_text(rng: random.Random, num_words: int) -> str:
    """Words of the training page, some of them mangled, `num_words` of them."""
    words = " ".join(SENTENCES).split()
    picked = rng.choices(words, k=num_words)
    return " ".join(word[::-1] if rng.random() < 0.2 else word for word in picked)


def save_bert(folder: Path, tokenizer_class: str = "BertTokenizer", **settings: Any) -> Path:
    """WordPiece, `[CLS] a [SEP] b [SEP]`."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if tokenizer_class == "MPNetTokenizer":
        specials = ["<s>", "<pad>", "</s>", "<mask>", "[UNK]"]
    return _save(folder, tokenizer_class, {"vocab": _word_piece(specials), **settings})


def save_roberta(folder: Path, tokenizer_class: str = "RobertaTokenizer", **settings: Any) -> Path:
    """Byte-level BPE, `<s> a </s></s> b </s>`."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if tokenizer_class == "DebertaTokenizer":
        specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return _save(folder, tokenizer_class, {"vocab": model["vocab"], "merges": merges, **settings})


def save_xlm_roberta(
    folder: Path, tokenizer_class: str = "XLMRobertaTokenizer", **settings: Any
) -> Path:
    """Unigram, `<s> a </s></s> b </s>` without token types."""
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if tokenizer_class == "DebertaV2Tokenizer":
        specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=specials, unk_token=specials[3], show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    vocab = [tuple(entry) for entry in json.loads(tokenizer.to_str())["model"]["vocab"]]
    return _save(folder, tokenizer_class, {"vocab": vocab, **settings})


def save_plain(folder: Path, **settings: Any) -> Path:
    """A WordPiece tokenizer that transformers takes from tokenizer.json as it is (ModernBERT)."""
    save_bert(folder)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    return rewrite_settings(folder, model_type="modernbert", **settings)


def rewrite_settings(folder: Path, model_type: str | None = None, **settings: Any) -> Path:
    """Change tokenizer_config.json, and config.json's model_type where it is given."""
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    if model_type is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    return folder


SAVERS: dict[str, Callable[[Path], Path]] = {
    "bert": save_bert,
    "bert-cased": lambda folder: save_bert(folder, do_lower_case=False, strip_accents=False),
    "distilbert": lambda folder: save_bert(folder, "DistilBertTokenizer"),
    "mpnet": lambda folder: save_bert(folder, "MPNetTokenizer"),
    "roberta": save_roberta,
    "roberta-prefix-space": lambda folder: save_roberta(folder, add_prefix_space=True),
    "deberta": lambda folder: save_roberta(folder, "DebertaTokenizer"),
    "xlm-roberta": save_xlm_roberta,
    "camembert": lambda folder: save_xlm_roberta(folder, "CamembertTokenizer"),
    "deberta-v2": lambda folder: save_xlm_roberta(folder, "DebertaV2Tokenizer"),
    "deberta-v2-lower": lambda folder: save_xlm_roberta(
        folder, "DebertaV2Tokenizer", do_lower_case=True, split_by_punct=True
    ),
    "modernbert": save_plain,
}
"""A name that starts with its model type → saves such a tokenizer into a folder."""


def _word_piece(specials: list[str]) -> dict[str, int]:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=400, special_tokens=specials, show_progress=False
    )
    lower = [sentence.lower() for sentence in SENTENCES]
    tokenizer.train_from_iterator([*SENTENCES, *lower], trainer)
    return tokenizer.get_vocab()


def _save(folder: Path, tokenizer_class: str, arguments: dict[str, Any]) -> Path:
    import transformers

    getattr(transformers, tokenizer_class)(**arguments).save_pretrained(str(folder))
    model_types = {
        "BertTokenizer": "bert",
        "DistilBertTokenizer": "distilbert",
        "MPNetTokenizer": "mpnet",
        "RobertaTokenizer": "roberta",
        "DebertaTokenizer": "deberta",
        "XLMRobertaTokenizer": "xlm-roberta",
        "CamembertTokenizer": "camembert",
        "DebertaV2Tokenizer": "deberta-v2",
    }
    config = {"model_type": model_types[tokenizer_class]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
