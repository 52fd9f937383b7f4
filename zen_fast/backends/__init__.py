"""Backends: implementations of the op protocol, behind one small interface."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import PackedBatch


class Backend(Protocol):
    """One encoder made ready to run."""

    name: str

    def forward(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Logits of each sequence, (num_sequences, num_labels) fp32; safe under threads."""

    def keys_values(self, batch: PackedBatch) -> list[NDArray[np.float32]]:
        """What a causal encoder keeps of each sequence's own tokens: see `Prefix.keys_values`."""

    def seconds_by_op(self) -> list[tuple[str, float]]:
        """Seconds that each op of the graph has taken so far, as if all threads had shared it.

        Empty where the backend does not measure.
        """
