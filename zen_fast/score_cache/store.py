"""What a score cache asks of the place that keeps its entries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

KEY_BYTES = 16
"""A billion pairs share a key with a chance of one in 10^21."""


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """What a store knows of itself; None where it does not."""

    evictions: int | None = None
    """Entries that left because there was no room."""
    num_entries: int | None = None
    used_bytes: int | None = None
    capacity_bytes: int | None = None
    failures: int = 0
    """Calls that failed and were answered as if nothing were stored."""


@runtime_checkable
class ScoreStore(Protocol):
    """Keys, digests of 16 bytes → values of some 20 bytes; safe to call from many threads."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where there is none."""

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (key, value) pairs, in place of what these keys had."""

    def statistics(self) -> StoreStatistics:
        """Counters and size at this moment."""

    def close(self) -> None:
        """Release what the store holds; it is not used afterwards."""
