"""Which hidden coordinates of a cross-encoder follow a bi-encoder's embeddings."""

from __future__ import annotations

from typing import Any

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
"""Coordinates that a student was given for something else are below 0.3, nearly all others, after
any training so far, above 0.8."""


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
    correlations = _correlations(
        _centred(output.query_means.numpy(), output.document_means.numpy()),
        _centred(embeddings[queries], embeddings[documents]),
    )
    return [int(index) for index in np.flatnonzero(correlations < _LEAST_CORRELATION)]


def _centred(*segments: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Each segment's rows without its mean: to tell the segments apart is not to follow."""
    parts = [rows.astype(np.float64) for rows in segments]
    return np.concatenate([rows - rows.mean(axis=0) for rows in parts])


def _correlations(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(num_columns,) of each centred column with the other array's; 0 where one is constant."""
    sizes = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    products = (a * b).sum(axis=0)
    correlations: NDArray[np.float64] = np.zeros_like(products)
    np.divide(products, sizes, out=correlations, where=sizes > 0)
    return correlations
