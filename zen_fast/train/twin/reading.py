"""What a query-independent BERT makes of pairs, through the stock model's modules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from zen_fast.batching import TokenizedPair


def query_independent_logits(
    model: BertForSequenceClassification, pairs: Sequence[TokenizedPair]
) -> Tensor:
    """Logits (num_pairs, num_labels): heads see only themselves, and the last token is read.

    Args:
        pairs: whose `num_head_tokens` are known.
    """
    lengths = torch.tensor([len(pair) for pair in pairs])
    shape = (len(pairs), int(lengths.max()))
    token_ids, token_types = torch.zeros(shape).long(), torch.zeros(shape).long()
    for row, pair in enumerate(pairs):
        token_ids[row, : len(pair)] = torch.from_numpy(pair.token_ids)
        token_types[row, : len(pair)] = torch.from_numpy(pair.token_type_ids)
    head_lengths = torch.tensor([pair.num_head_tokens for pair in pairs])
    device = model.device
    states = model.bert(
        input_ids=token_ids.to(device),
        token_type_ids=token_types.to(device),
        attention_mask=_mask(lengths, head_lengths, shape[1]).to(device),
    ).last_hidden_state
    last = states[torch.arange(len(pairs)), lengths - 1]
    pooler: Any = model.bert.pooler
    logits: Tensor = model.classifier(model.dropout(pooler(last[:, None])))
    return logits


def _mask(lengths: Tensor, head_lengths: Tensor, longest: int) -> Tensor:
    """(num_pairs, 1, longest, longest): 0 where row i sees key j, and next to -inf elsewhere."""
    places = torch.arange(longest)
    is_token = places < lengths[:, None]
    in_head = places < head_lengths[:, None]
    visible = is_token[:, None, :] & (in_head[:, None, :] | ~in_head[:, :, None])
    return torch.zeros(visible.shape).masked_fill(~visible, torch.finfo().min)[:, None]
