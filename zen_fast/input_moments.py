"""What the projections of an encoder read on real text, as second moments."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from zen_fast.backends.reference import ReferenceOps
from zen_fast.batching import PackedBatch, TokenizedPair, pack, schedule
from zen_fast.encoder import Encoder
from zen_fast.spec import Activation
from zen_fast.weights import Array, Linear, is_quantizable

_TOKENS_AT_ONCE = 4096


def input_moments(
    encoder: Encoder,
    pairs: Sequence[TokenizedPair],
    advance: Callable[[int], None] = lambda _: None,
) -> dict[str, Array]:
    """The mean outer product of the rows that each projection of the layers is multiplied with.

    Args:
        encoder: not quantized.
        advance: called with the number of pairs just read.

    Returns:
        Name of the weight → (in, in) fp32.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for chosen in schedule([len(pair) for pair in pairs], _TOKENS_AT_ONCE):
        batch = pack([pairs[index] for index in chosen], encoder.spec)
        with torch.inference_mode():
            encoder.logits(_WatchingOps(batch, encoder, sums, counts))
        advance(len(chosen))
    return {name: (total / counts[name]).numpy() for name, total in sums.items()}


class _WatchingOps(ReferenceOps):
    """The reference ops, which add up what projections read."""

    def __init__(
        self, batch: PackedBatch, encoder: Encoder, sums: dict[str, Tensor], counts: dict[str, int]
    ) -> None:
        super().__init__(batch)
        weights = encoder.weights
        self._projections = {name: weights[name] for name in filter(is_quantizable, weights)}
        self._sums, self._counts = sums, counts

    def linear(
        self,
        x: Tensor,
        layer: Linear,
        activation: Activation | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        if layer.is_projection:
            # A slice of its output rows reads what the whole matrix would.
            name = next(
                name
                for name, weight in self._projections.items()
                if np.may_share_memory(weight, layer.weight)
            )
            self._sums[name] = self._sums.get(name, 0.0) + x.T @ x
            self._counts[name] = self._counts.get(name, 0) + len(x)
        return super().linear(x, layer, activation, residual)
