"""What the student makes of pairs in training, through the stock forward."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BertForSequenceClassification


@dataclass(frozen=True)
class PairOutput:
    """What the student makes of pairs, in their order."""

    logits: Tensor
    """(num_pairs,) fp32."""
    query_means: Tensor
    """(num_pairs, hidden) fp32, mean of the query's hidden states before the last layer."""
    document_means: Tensor
    """(num_pairs, hidden) fp32, the same of the document's."""


def read_pairs(
    student: BertForSequenceClassification, pairs: list[tuple[list[int], int]], chunk_size: int
) -> PairOutput:
    """Read pairs of any lengths, in chunks of similar length so that padding is small.

    Args:
        pairs: (token ids, number of them that belong to [CLS] query [SEP]).
        chunk_size: pairs per forward.

    Returns:
        tensors on the student's device.
    """
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][0]))
    chunks = [
        _read_padded(student, [pairs[index] for index in order[start : start + chunk_size]])
        for start in range(0, len(order), chunk_size)
    ]
    inverse = torch.empty(len(order), dtype=torch.long)
    inverse[torch.tensor(order)] = torch.arange(len(order))
    inverse = inverse.to(student.device)
    return PairOutput(*(torch.cat(parts)[inverse] for parts in zip(*chunks, strict=True)))


def _read_padded(
    student: BertForSequenceClassification, pairs: list[tuple[list[int], int]]
) -> tuple[Tensor, Tensor, Tensor]:
    longest = max(len(ids) for ids, _ in pairs)
    input_ids = torch.full((len(pairs), longest), int(student.config.pad_token_id or 0))
    token_type_ids = torch.zeros_like(input_ids)
    attention_mask = torch.zeros_like(input_ids)
    for row, (ids, query_length) in enumerate(pairs):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        token_type_ids[row, query_length : len(ids)] = 1
        attention_mask[row, : len(ids)] = 1
    input_ids, token_type_ids, attention_mask = (
        tensor.to(student.device) for tensor in (input_ids, token_type_ids, attention_mask)
    )
    output = student(
        input_ids=input_ids,
        token_type_ids=token_type_ids,
        attention_mask=attention_mask,
        output_hidden_states=True,
    )
    states = output.hidden_states[-2]
    return (
        output.logits.squeeze(-1),
        mean_where(states, attention_mask - token_type_ids),
        mean_where(states, token_type_ids),
    )


def mean_where(states: Tensor, mask: Tensor) -> Tensor:
    """(num_rows, num_tokens, hidden) → (num_rows, hidden): mean of the tokens that `mask` names."""
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
