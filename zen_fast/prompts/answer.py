"""The tokens that a language model answers with: their logits are the score."""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from zen_fast.errors import CheckpointError
from zen_fast.prompts.template import PromptTemplate


@dataclass(frozen=True)
class AnswerTokens:
    """The score is the positive token's logit at the last position, less the negative one's."""

    positive: int
    """Token id of "yes"."""
    negative: int | None
    """Token id of "no"; None where nothing is subtracted."""


def answer_tokens(template: PromptTemplate, tokenizer: Tokenizer) -> AnswerTokens | None:
    """The ids of a template's answer; None where it names none.

    Raises:
        CheckpointError: one of the answers is no token of this tokenizer.
    """
    if template.positive is None:
        return None
    negative = template.negative
    return AnswerTokens(
        positive=_token_id("positive", template.positive, tokenizer),
        negative=None if negative is None else _token_id("negative", negative, tokenizer),
    )


def _token_id(name: str, token: str | int, tokenizer: Tokenizer) -> int:
    if isinstance(token, int):
        if not 0 <= token < tokenizer.get_vocab_size():
            raise CheckpointError(
                f"the {name} answer is token id {token}, but the tokenizer's vocabulary ends at "
                f"{tokenizer.get_vocab_size()}; pass a template= with the right one"
            )
        return token
    index = tokenizer.token_to_id(token)
    if index is None:
        pieces = tokenizer.encode(token, add_special_tokens=False).tokens
        raise CheckpointError(
            f"the {name} answer {token!r} is no token of this tokenizer, which makes "
            f"{len(pieces)} of it ({', '.join(map(repr, pieces))}); pass a template= whose "
            f"{name} is a single entry of the vocabulary, or its id"
        )
    return index
