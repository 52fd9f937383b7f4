"""Which tokens see which: all of them, or a query nothing but itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import BertConfig

from zen_fast.architectures import ATTENTION_PATTERN, QUERY_INDEPENDENT

_HIDDEN = torch.finfo(torch.bfloat16).min
"""Next to -inf, and finite in bf16 too, to which a GPU's mask is cast."""


def set_attention_pattern(config: BertConfig, pattern: str) -> None:
    """Make a model of this config "full", as stock BERT is, or "query_independent"."""
    if pattern == QUERY_INDEPENDENT:
        setattr(config, ATTENTION_PATTERN, pattern)


def is_query_independent(config: Any) -> bool:
    """Whether queries see only themselves, and the score is read at the last token."""
    return bool(getattr(config, ATTENTION_PATTERN, "full") == QUERY_INDEPENDENT)


def attention_mask(config: Any, is_token: Tensor, in_head: Tensor) -> Tensor:
    """(num_pairs, 1, longest, longest): 0 where row i sees key j, and next to -inf elsewhere.

    Args:
        is_token: (num_pairs, longest) bool, False in the padding.
        in_head: (num_pairs, longest) bool, True in [CLS] query [SEP].
    """
    visible = is_token[:, None, :]
    if is_query_independent(config):
        visible = visible & (in_head[:, None, :] | ~in_head[:, :, None])
    mask = torch.zeros(visible.shape, device=visible.device).masked_fill(~visible, _HIDDEN)
    # Of a flat mask the stock code asks the GPU, and waits, whether it masks anything.
    return mask[:, None].expand(-1, 1, is_token.shape[1], -1)
