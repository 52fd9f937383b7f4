"""What a cross-encoder makes of pairs in training, through the stock forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertForSequenceClassification

from zen_fast.train.token_table import Indices, PaddedPairs, TokenTable


@dataclass(frozen=True)
class PairOutput:
    """What a student makes of pairs, in their order."""

    logits: Tensor
    """(num_pairs,) fp32."""
    query_means: Tensor
    """(num_pairs, hidden) fp32, mean of the query's hidden states before the last layer."""
    document_means: Tensor
    """(num_pairs, hidden) fp32, the same of the document's."""


def read_logits(
    model: BertForSequenceClassification, table: TokenTable, queries: Indices, documents: Indices
) -> Tensor:
    """(num_pairs,) fp32 logits of the table's texts, on the model's device."""
    (logits,) = read_batches(
        table, queries, documents, lambda pairs: (_forward(model, pairs, False).logits[:, 0],)
    )
    return logits


def read_pairs(
    student: BertForSequenceClassification, table: TokenTable, queries: Indices, documents: Indices
) -> PairOutput:
    """The same with the segments' means."""
    return PairOutput(
        *read_batches(table, queries, documents, lambda pairs: _with_means(student, pairs))
    )


def read_batches(
    table: TokenTable,
    queries: Indices,
    documents: Indices,
    read: Callable[[PaddedPairs], tuple[Tensor, ...]],
) -> list[Tensor]:
    """What `read` makes of each batch, rows in the pairs' order, in fp32.

    On a GPU matrices are multiplied in bf16.
    """
    places, outputs = [], []
    for batch, pairs in table.batches(queries, documents):
        with torch.autocast("cuda", torch.bfloat16, enabled=pairs.input_ids.is_cuda):
            outputs.append([part.float() for part in read(pairs)])
        places.append(batch)
    inverse = torch.from_numpy(np.argsort(np.concatenate(places)))
    return [
        torch.cat(parts)[inverse.to(parts[0].device, non_blocking=True)]
        for parts in zip(*outputs, strict=True)
    ]


def mean_where(states: Tensor, mask: Tensor) -> Tensor:
    """(num_rows, num_tokens, hidden) → (num_rows, hidden): mean of the tokens that `mask` names."""
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _with_means(
    student: BertForSequenceClassification, pairs: PaddedPairs
) -> tuple[Tensor, Tensor, Tensor]:
    output = _forward(student, pairs, True)
    states = output.hidden_states[-2]
    return (
        output.logits[:, 0],
        mean_where(states, pairs.in_head),
        mean_where(states, pairs.is_token & ~pairs.in_head),
    )


def _forward(model: BertForSequenceClassification, pairs: PaddedPairs, with_states: bool) -> Any:
    # A mask of this shape is taken as it is; of a flat one the stock code asks the GPU, and waits,
    # whether it masks anything.
    longest = pairs.input_ids.shape[1]
    mask = pairs.is_token[:, None, None, :].expand(-1, 1, longest, -1)
    return model(
        input_ids=pairs.input_ids,
        token_type_ids=pairs.token_type_ids,
        attention_mask=mask,
        output_hidden_states=with_states,
    )
