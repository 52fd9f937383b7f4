"""Which hidden coordinates of a cross-encoder follow a bi-encoder's embeddings."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertForSequenceClassification

from zen_fast.train.list_table import ListTable
from zen_fast.train.student.distillation import Embeddings
from zen_fast.train.student.reading import read_pairs
from zen_fast.train.token_table import TokenTable

_SAMPLE_LISTS = 120
_LEAST_CORRELATION = 0.35
"""Coordinates that a student was given for something else are at 0 or below, those that still
embed, after any training so far, above 0.8."""


def apart_coordinates(
    model: BertForSequenceClassification,
    tokens: TokenTable,
    table: ListTable,
    embeddings: Embeddings,
) -> list[int]:
    """Coordinates whose means over a segment do not go with the embedding of its text.

    Args:
        tokens: of the table's texts.
        embeddings: (num_texts, hidden) of the table's texts.
    """
    queries, documents = table.pairs(slice(0, _SAMPLE_LISTS))
    model.train(False)
    with torch.inference_mode():
        output = read_pairs(model, tokens, queries, documents)
    means = torch.cat([output.query_means, output.document_means]).numpy().astype(np.float64)
    wanted = embeddings[np.concatenate([queries, documents])].astype(np.float64)
    correlations = _correlations(means, wanted)
    return [int(index) for index in np.flatnonzero(correlations < _LEAST_CORRELATION)]


def _correlations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(num_columns,) of each column of the one with the other's; 0 where one is constant."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    sizes = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    products = (a * b).sum(axis=0)
    correlations: NDArray[np.float64] = np.zeros_like(products)
    np.divide(products, sizes, out=correlations, where=sizes > 0)
    return correlations
