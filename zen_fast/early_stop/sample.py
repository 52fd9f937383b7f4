"""What early stopping is fitted on: whole lists, scored, with what early layers knew of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import TokenizedPair
from zen_fast.engine import Engine


@dataclass(frozen=True, eq=False)
class ScoredList:
    """One query's candidates in first-stage order."""

    collection: str
    logits: NDArray[np.float32]
    """(n,)"""
    features: dict[int, NDArray[np.float16]]
    """Number of layers → (n, num_features), what `PausedPairs.read` gives after them."""
    lengths: NDArray[np.intp]
    """(n,), tokens"""


def score_list(
    engine: Engine, collection: str, pairs: Sequence[TokenizedPair], layers: Sequence[int]
) -> ScoredList:
    """Score one query's `pairs`, in first-stage order, and read them after each of `layers`.

    Args:
        layers: ascending numbers of layers; none where the backend does not pause.
    """
    lengths = np.fromiter(map(len, pairs), dtype=np.intp, count=len(pairs))
    if not layers:
        return ScoredList(collection, engine.run(pairs)[:, 0], {}, lengths)
    paused = engine.pause(pairs, layers[0])
    features = {layers[0]: paused.read().astype(np.float16)}
    for num_layers in range(layers[0] + 1, layers[-1] + 1):
        paused.advance()
        if num_layers in layers:
            features[num_layers] = paused.read().astype(np.float16)
    logits = paused.finish(np.ones(len(pairs), dtype=np.bool_))
    return ScoredList(collection, logits[:, 0], features, lengths)
