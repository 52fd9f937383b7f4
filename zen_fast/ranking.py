"""Best first: the order of scored documents."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from zen_fast.activation import ScoreActivation, Scores

logger = logging.getLogger(__name__)


def ranking(logits: Scores, scores: Scores, activation: ScoreActivation) -> NDArray[np.intp]:
    """Indices of the documents from best to worst.

    Logits are sorted where the activation keeps their order, because a sigmoid saturates and then
    ties what the model tells apart. Ties stay in input order. NaN comes last, with a warning: a
    model that gives NaN is broken for that pair, which must neither win nor take the others down.

    Args:
        logits: (num_documents,) fp32
        scores: (num_documents,) fp32, their activation
    """
    keys = logits if activation.keeps_order else scores
    num_nan = int(np.isnan(keys).sum())
    if num_nan:
        logger.warning("%d of %d scores are NaN and ranked last", num_nan, len(keys))
    return np.argsort(-keys, kind="stable")
