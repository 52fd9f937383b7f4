"""What a score depends on besides the two texts, in one digest."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import numpy as np
from tokenizers import Tokenizer

from zen_fast.prompts.template import PromptTemplate
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import Truncation, TruncationSide, WindowSettings
from zen_fast.weights import Array

FINGERPRINT_BYTES = 32


def model_fingerprint(
    *,
    spec: EncoderSpec,
    weights: Mapping[str, Array],
    tokenizer: Tokenizer,
    uses_token_types: bool,
    template: PromptTemplate | None,
    max_length: int | None,
    truncation: Truncation,
    truncation_side: TruncationSide,
    windows: WindowSettings | None,
    arithmetic: str,
) -> bytes:
    """A digest, 32 bytes, that differs wherever a score may differ.

    It reads every weight once, about a second for each GB.

    Args:
        spec: the encoder's.
        weights: canonical names → arrays, as the backend was given them.
        tokenizer: padding and truncation off.
        uses_token_types: whether the model is told token types.
        template: what a language model reads around the texts.
        max_length: longest pair in tokens.
        truncation: which text of a longer pair is cut.
        truncation_side: at which end.
        windows: how a document that does not fit is read; None where it is truncated.
        arithmetic: the backend with its precision and kernels: whatever rounds otherwise.
    """
    digest = blake2b(digest_size=FINGERPRINT_BYTES)

    def add(part: bytes | memoryview) -> None:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)

    settings = (uses_token_types, template, max_length, truncation, truncation_side, windows)
    # What a tokenizer's JSON leaves out: whether special tokens in a text are split.
    for setting in (spec, *settings, tokenizer.encode_special_tokens, arithmetic):
        add(repr(setting).encode("utf-8", "surrogatepass"))
    add(tokenizer.to_str().encode("utf-8", "surrogatepass"))
    for name in sorted(weights):
        array = weights[name]
        add(f"{name} {array.dtype.str} {array.shape}".encode())
        add(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.digest()
