"""The head of a generative reranker: two rows of the vocabulary instead of all of them."""

from __future__ import annotations

import numpy as np

from zen_fast.checkpoint.tensors import StoredTensor
from zen_fast.errors import CheckpointError
from zen_fast.prompts.answer import AnswerTokens
from zen_fast.spec import EncoderSpec
from zen_fast.weights import Array


def answer_head(
    vocabulary: StoredTensor, answer: AnswerTokens, spec: EncoderSpec
) -> dict[str, Array]:
    """Canonical tensors of a head that gives the answer's score.

    Args:
        vocabulary: output rows of the language model, (vocab_size, hidden_size).

    Raises:
        CheckpointError: a token has no row.
    """
    positive = _row(vocabulary, answer.positive)
    negative = (
        np.zeros_like(positive) if answer.negative is None else _row(vocabulary, answer.negative)
    )
    cap, scale = np.float32(spec.head.logit_cap), np.float32(spec.head.logit_scale)
    if not cap:
        return {"head.classifier.weight": scale * (positive - negative)[None]}
    return {
        "head.dense.weight": np.stack((positive, negative)) / cap,
        "head.classifier.weight": np.array([[cap, -cap]], np.float32),
    }


def _row(vocabulary: StoredTensor, token: int) -> Array:
    if not 0 <= token < vocabulary.shape[0]:
        raise CheckpointError(
            f"token {token} of the answer is beyond the vocabulary of {vocabulary.shape[0]} tokens"
        )
    row: Array = vocabulary.rows(slice(token, token + 1)).fp32()[0]
    return row
