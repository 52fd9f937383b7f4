"""A tiny random BERT whose queries do not see their documents: the stock modules under a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from random_models import MAX_LENGTH, RandomModel, Sequence

from zen_fast.batching import TokenizedPair
from zen_fast.train.student.pattern import set_attention_pattern
from zen_fast.train.student.reading import padded_logits
from zen_fast.train.token_table import PaddedPairs


def query_independent_logits(model: Any, pairs: list[TokenizedPair]) -> torch.Tensor:
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
    padded = PaddedPairs(
        token_ids.to(device), head_lengths[:, None].to(device), lengths[:, None].to(device)
    )
    set_attention_pattern(model.config, "query_independent")
    return padded_logits(model, padded, token_types.to(device))


@dataclass(frozen=True)
class RandomQueryIndependentModel(RandomModel):
    """A recipe under the attention pattern "query_independent"."""

    def logits(self, model: Any, sequences: list[Sequence]) -> np.ndarray:
        pairs = [
            TokenizedPair(each.token_ids, each.token_type_ids, each.num_head_tokens)
            for each in sequences
        ]
        with torch.inference_mode():
            alone = [query_independent_logits(model, [pair])[0].numpy() for pair in pairs]
        return np.stack(alone)


QUERY_INDEPENDENT_BERT = RandomQueryIndependentModel(
    "bert-query-independent",
    "Bert",
    {
        "hidden_size": 48,
        "num_attention_heads": 3,
        "num_hidden_layers": 3,
        "intermediate_size": 37,
        "max_position_embeddings": MAX_LENGTH,
        "layer_norm_eps": 0.02,
        "num_labels": 2,
    },
    saved_settings={"attention_pattern": "query_independent"},
)
