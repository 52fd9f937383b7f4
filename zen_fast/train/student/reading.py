"""What a cross-encoder makes of pairs in training, through the stock model's modules."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import BertForSequenceClassification, BertModel

from zen_fast.train.student.pattern import attention_mask, is_query_independent
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
        table, queries, documents, lambda pairs: (padded_logits(model, pairs)[:, 0],)
    )
    return logits


def read_pairs(
    student: BertForSequenceClassification, table: TokenTable, queries: Indices, documents: Indices
) -> PairOutput:
    """The same with the segments' means."""
    return PairOutput(
        *read_batches(table, queries, documents, lambda pairs: _with_means(student, pairs))
    )


def padded_logits(
    model: BertForSequenceClassification, pairs: PaddedPairs, token_types: Tensor | None = None
) -> Tensor:
    """(num_pairs, num_labels) logits, by the model's attention pattern.

    Args:
        token_types: (num_pairs, longest), where they are not the pairs' own.
    """
    return _logits(model, pairs, encode(model.bert, pairs, token_types).last_hidden_state)


def read_batches(
    table: TokenTable,
    queries: Indices,
    documents: Indices,
    read: Callable[[PaddedPairs], tuple[Tensor, ...]],
) -> list[Tensor]:
    """What `read` makes of each batch, rows in the pairs' order, in fp32."""
    places, outputs = [], []
    for batch, pairs in table.batches(queries, documents):
        with multiplied_in_bf16(pairs.input_ids.device):
            outputs.append([part.float() for part in read(pairs)])
        places.append(batch)
    inverse = torch.from_numpy(np.argsort(np.concatenate(places)))
    return [
        torch.cat(parts)[inverse.to(parts[0].device, non_blocking=True)]
        for parts in zip(*outputs, strict=True)
    ]


def multiplied_in_bf16(device: torch.device) -> AbstractContextManager[None]:
    """Matrices are multiplied in bf16 within, where the device is a GPU."""
    return torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda")


def encode(
    encoder: BertModel,
    pairs: PaddedPairs,
    token_types: Tensor | None = None,
    with_states: bool = False,
) -> Any:
    """The stock encoder's output for pairs, by its attention pattern.

    Args:
        token_types: (num_pairs, longest), where they are not the pairs' own.
        with_states: keep the hidden states before and behind every layer.
    """
    return encoder(
        input_ids=pairs.input_ids,
        token_type_ids=pairs.token_type_ids if token_types is None else token_types,
        attention_mask=attention_mask(encoder.config, pairs.is_token, pairs.in_head),
        output_hidden_states=with_states,
    )


def means_of_segments(states: Tensor, pairs: PaddedPairs) -> tuple[Tensor, Tensor]:
    """Means of (num_pairs, longest, hidden) over the queries and over the documents."""
    in_document = pairs.is_token & ~pairs.in_head
    return _mean_where(states, pairs.in_head), _mean_where(states, in_document)


def _mean_where(states: Tensor, mask: Tensor) -> Tensor:
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _with_means(
    student: BertForSequenceClassification, pairs: PaddedPairs
) -> tuple[Tensor, Tensor, Tensor]:
    *_, middle, last = encode(student.bert, pairs, with_states=True).hidden_states
    return _logits(student, pairs, last)[:, 0], *means_of_segments(middle, pairs)


def _logits(model: BertForSequenceClassification, pairs: PaddedPairs, states: Tensor) -> Tensor:
    """(num_pairs, num_labels) of the last layer's states, (num_pairs, longest, hidden)."""
    if is_query_independent(model.config):
        place = (pairs.lengths - 1)[:, :, None].expand(-1, -1, states.shape[2])
        states = states.gather(1, place)
    pooler: Any = model.bert.pooler  # of the first row
    logits: Tensor = model.classifier(model.dropout(pooler(states)))
    return logits
