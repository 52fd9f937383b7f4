"""What an encoder makes of typical pairs, and linear readings fitted to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BertModel

from zen_fast.train.pairs import Pair
from zen_fast.train.student.pattern import attention_mask, is_query_independent

_RIDGE = 1e-3


def layers_of(encoder: BertModel) -> list[Any]:
    """The encoder's layers, whose parts torch's types do not know."""
    return list(encoder.encoder.layer)


@dataclass(frozen=True)
class TokenSample:
    """The tokens of typical pairs, laid end to end."""

    ids: Tensor
    """(num_tokens) int."""
    segments: Tensor
    """(num_tokens) 0 in the query, 1 in the document."""
    embedded: Tensor
    """(num_tokens, hidden) behind the embeddings."""
    states: Tensor
    """(num_tokens, hidden) behind the last layer."""
    lengths: tuple[int, ...]
    """Tokens of each segment: query, document, query, document …"""

    def segment_means(self) -> Tensor:
        """(num_segments, hidden) means of the states."""
        segments = torch.split(self.states, list(self.lengths))
        return torch.stack([segment.mean(dim=0) for segment in segments])

    def scored_states(self, config: Any) -> Tensor:
        """(num_pairs, hidden) states of the token that a model of this config scores."""
        ends = torch.tensor([0, *self.lengths]).cumsum(0)[::2]
        return self.states[ends[1:] - 1 if is_query_independent(config) else ends[:-1]]


@torch.no_grad()
def read_sample(encoder: BertModel, pairs: Sequence[Pair]) -> TokenSample:
    """Let the encoder read pairs, one by one."""
    ids, segments, embedded, states = [], [], [], []
    lengths: list[int] = []
    for pair, query_length in pairs:
        row = torch.tensor(pair)
        types = (torch.arange(len(row)) >= query_length).long()
        in_head = types[None] == 0
        mask = attention_mask(encoder.config, torch.ones_like(in_head), in_head)
        output = encoder(
            input_ids=row[None].to(encoder.device),
            token_type_ids=types[None].to(encoder.device),
            attention_mask=mask.to(encoder.device),
            output_hidden_states=True,
        )
        ids.append(row)
        segments.append(types)
        embedded.append(output.hidden_states[0][0].cpu())
        states.append(output.last_hidden_state[0].cpu())
        lengths += [query_length, len(row) - query_length]
    return TokenSample(
        torch.cat(ids), torch.cat(segments), torch.cat(embedded), torch.cat(states), tuple(lengths)
    )


def fit_reading(states: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The weights (hidden) and bias () of the ridge regression of `wanted` on the states.

    Args:
        states: (num_tokens, hidden)
        wanted: (num_tokens)
    """
    ones = torch.ones(len(states), 1)
    inputs = torch.cat([states, ones], dim=1).double()
    gram = inputs.T @ inputs
    penalty = _RIDGE * gram.diagonal().mean() * torch.ones(len(gram), dtype=torch.double)
    penalty[-1] = 0.0
    solution = torch.linalg.solve(gram + torch.diag(penalty), inputs.T @ wanted.double())
    return solution[:-1].float(), solution[-1].float()
