"""Backends: implementations of the op protocol, behind one small interface."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import PackedBatch


class Backend(Protocol):
    """One encoder made ready to run."""

    name: str
    precision: str
    """What the layers' projections are computed in."""
    arithmetic: str
    """Kernels and precision: whatever rounds otherwise has another name."""

    def forward(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Logits of each sequence, (num_sequences, num_labels) fp32; safe under threads."""

    def seconds_by_op(self) -> list[tuple[str, float]]:
        """Seconds that each op of the graph has taken so far, as if all threads had shared it.

        Empty where the backend does not measure.
        """


@runtime_checkable
class PrefixingBackend(Backend, Protocol):
    """A backend that reads a batch's prefixes, and makes them."""

    def keys_values(self, batch: PackedBatch) -> list[NDArray[np.float32]]:
        """What later tokens read of each sequence's own ones: see `Prefix.keys_values`."""


@runtime_checkable
class PausingBackend(Backend, Protocol):
    """A backend whose forward pass can stop after a layer and go on with fewer sequences."""

    def advance(
        self, batch: PackedBatch, states: NDArray[np.float32] | None, layers: range
    ) -> NDArray[np.float32]:
        """Token states (num_tokens, hidden_size) fp32 after `layers`, which are not the last.

        Args:
            states: those before `layers`, None where they begin with the first.
        """

    def finish(
        self, batch: PackedBatch, states: NDArray[np.float32], first_layer: int
    ) -> NDArray[np.float32]:
        """Logits, as `forward`, from the token states before `first_layer`, which is not 0.

        A sequence gets the bits that `forward` would give it.
        """
