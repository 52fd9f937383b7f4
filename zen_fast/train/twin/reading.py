"""What a query-independent BERT makes of pairs, through the stock model's modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from zen_fast.train.token_table import PaddedPairs

_HIDDEN = torch.finfo(torch.bfloat16).min
"""Next to -inf, and finite in bf16 too, to which a GPU's mask is cast."""


def padded_query_independent_logits(
    model: BertForSequenceClassification, pairs: PaddedPairs, token_types: Tensor
) -> Tensor:
    """Logits (num_pairs, num_labels): heads see only themselves, and the last token is read.

    Args:
        token_types: (num_pairs, longest).
    """
    states = model.bert(
        input_ids=pairs.input_ids, token_type_ids=token_types, attention_mask=_mask(pairs)
    ).last_hidden_state
    last = states.gather(1, (pairs.lengths - 1)[:, :, None].expand(-1, -1, states.shape[2]))
    pooler: Any = model.bert.pooler
    logits: Tensor = model.classifier(model.dropout(pooler(last)))
    return logits


def _mask(pairs: PaddedPairs) -> Tensor:
    """(num_pairs, 1, longest, longest): 0 where row i sees key j, and next to -inf elsewhere."""
    in_head = pairs.in_head
    visible = pairs.is_token[:, None, :] & (in_head[:, None, :] | ~in_head[:, :, None])
    mask = torch.zeros(visible.shape, device=visible.device)
    return mask.masked_fill(~visible, _HIDDEN)[:, None]
