"""A tiny random BERT whose queries do not see their documents: the stock modules under a mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from random_models import MAX_LENGTH, RandomModel, Sequence

from zen_fast.batching import TokenizedPair
from zen_fast.train.twin.reading import query_independent_logits


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
