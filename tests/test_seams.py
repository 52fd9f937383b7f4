"""A template is cut only where its pieces have the ids of the whole, whatever the texts are."""

from __future__ import annotations

import random
from typing import Any

import pytest
from tiny_language_models import PAGE
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from zen_fast.tokenization.language_model_tokenizers import QWEN2_PATTERN
from zen_fast.tokenization.seams import LLAMA3_PATTERN, independent_pieces

PART = "<|end|>is it {query}\nin the: {document}<|end|>\nor not?"
CUT = ["<|end|>is it {query}\nin the:", " {document}", "<|end|>\nor not?"]
CHARACTERS = (
    " \t\n\r\u000b\u0085\xa0\u2003\u2028\u200b\u200d\ufeff" * 4
    + "aZé\u0301\u0308ßİǅﬁ½①'’sdtm019٣.,:;<|>-_(){}\"\\/&#人工한\U0001f600\U0001f469\U000e0001\0"
)


def bytes_after(*splits: Any, add_prefix_space: bool = False) -> Any:
    whole = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=not splits)
    return pre_tokenizers.Sequence([*splits, whole]) if splits else whole


def split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), behavior="isolated")


def trained(pre_tokenizer: Any, normalizer: Any = None) -> Tokenizer:
    """A tokenizer that merged all that its pre-tokenizer lets it, in texts like those below."""
    is_byte_level = "ByteLevel" in str(pre_tokenizer)
    tokenizer = Tokenizer(models.BPE(unk_token=None if is_byte_level else "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=3000,
        special_tokens=["<|end|>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if is_byte_level else [],
        show_progress=False,
    )
    rng = random.Random(0)
    tokenizer.train_from_iterator([*PAGE, *(odd_text(rng) for _ in range(2000))], trainer)
    return tokenizer


def odd_text(rng: random.Random) -> str:
    return "".join(rng.choices(CHARACTERS, k=rng.randint(0, 6)))


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


PROVEN = {
    "qwen2": lambda: trained(bytes_after(split(QWEN2_PATTERN)), normalizers.NFC()),
    "llama3": lambda: trained(bytes_after(split(LLAMA3_PATTERN))),
    "gpt2": lambda: trained(bytes_after(), normalizers.NFKC()),
    "words": lambda: trained(
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    ),
}


@pytest.mark.parametrize("kind", PROVEN)
def test_pieces_have_the_ids_of_the_whole(kind: str) -> None:
    tokenizer = PROVEN[kind]()
    assert independent_pieces(PART, tokenizer) == CUT
    rng = random.Random(kind)
    for _ in range(3000):
        query, document = odd_text(rng), odd_text(rng)
        pieces = [piece.replace("{query}", query).replace("{document}", document) for piece in CUT]
        separate = [token for piece in pieces for token in ids(tokenizer, piece)]
        assert separate == ids(tokenizer, "".join(pieces)), (query, document)


@pytest.mark.parametrize(
    "pre_tokenizer",
    [
        bytes_after(add_prefix_space=True),
        bytes_after(split(r"\p{L}+ ?|.")),
        pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="merged_with_next"),
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Whitespace(),
    ],
    ids=str,
)
def test_template_is_left_whole_where_no_cut_is_proven(pre_tokenizer: Any) -> None:
    assert independent_pieces(PART, trained(pre_tokenizer)) == [PART]


def test_cut_is_before_the_space_after_the_last_word() -> None:
    tokenizer = PROVEN["qwen2"]()
    for part, pieces in (
        ("{query} {document}", ["{query} {document}"]),
        ("{query}\n{document}", ["{query}\n{document}"]),
        ("{query}\nof  it:\n{document}.", ["{query}\nof", "  it:\n{document}."]),
        ("<|end|>{query}<|end|>{document}", ["<|end|>{query}<|end|>", "{document}"]),
        ("is {document}{query}", ["is", " {document}{query}"]),
    ):
        assert independent_pieces(part, tokenizer) == pieces
