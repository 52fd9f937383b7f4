"""Which tokens see which: all of them, or a query nothing but itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import BertConfig

from zen_fast.architectures import ATTENTION_PATTERN, QUERY_INDEPENDENT


def set_attention_pattern(config: BertConfig, pattern: str) -> None:
    """Make a model of this config "full", as stock BERT is, or "query_independent"."""
    if pattern == QUERY_INDEPENDENT:
        setattr(config, ATTENTION_PATTERN, pattern)


def is_query_independent(config: Any) -> bool:
    """Whether queries see only themselves, and the score is read at the last token."""
    return bool(getattr(config, ATTENTION_PATTERN, "full") == QUERY_INDEPENDENT)


def visible_tokens(config: Any, is_token: Tensor, in_head: Tensor) -> Tensor:
    """(num_pairs, 1, longest, longest) bool, True where row i sees key j.

    Args:
        is_token: (num_pairs, longest) bool, False in the padding.
        in_head: (num_pairs, longest) bool, True in [CLS] query [SEP].
    """
    if is_query_independent(config):
        seen = in_head[:, None, :] | ~in_head[:, :, None]
        return (is_token[:, None, :] & seen)[:, None]
    # Of a flat mask the stock code asks the GPU, and waits, whether it masks anything.
    return is_token[:, None, None, :].expand(-1, 1, is_token.shape[1], -1)
