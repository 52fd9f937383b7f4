"""Entries in this process's memory: one block of equal slots, so that its bound is exact."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from zen_fast.errors import InvalidArgumentError
from zen_fast.fork_safety import renew_in_children
from zen_fast.score_cache.store import KEY_BYTES, StoreStatistics

Indices = NDArray[np.intp]

WAYS = 32
"""Slots of a set. A key belongs to one set, chosen by its digest, as in a processor's cache. Sets
fill unevenly: of entries for three quarters of the slots 0.5 % are lost, for all of them 7 %."""

CHUNK = 128
"""Keys looked up at once: bounds the temporary arrays, 32 KB each, and the wait for the lock."""

SLOT_OVERHEAD_BYTES = KEY_BYTES + 8 + 8 + 2
"""Beside the value: the key, when it was used last, when it expires, the value's length."""

SMALLEST_BYTES = 4096


class _Slots:
    """Sets of slots for values of at most `value_bytes`, (num_sets, WAYS) of each array."""

    def __init__(self, capacity_bytes: int, value_bytes: int) -> None:
        self.value_bytes = value_bytes
        self.num_sets = capacity_bytes // (WAYS * (SLOT_OVERHEAD_BYTES + value_bytes))
        shape = (self.num_sets, WAYS)
        # Zeros take no memory before they are written.
        self.keys = np.zeros((KEY_BYTES // 8, *shape), np.uint64)
        self.used_at = np.zeros(shape, np.int64)
        self.expires_at = np.zeros(shape, np.float64)
        self.lengths = np.zeros(shape, np.uint16)
        self.values = np.zeros((*shape, value_bytes), np.uint8)

    def find(self, keys: Sequence[bytes]) -> tuple[NDArray[np.uint64], Indices, Indices]:
        """Each key's halves (2, num_keys), its set, and its way there or -1."""
        halves = np.frombuffer(b"".join(keys), np.uint64).reshape(len(keys), -1).T
        sets = (halves[0] % np.uint64(self.num_sets)).astype(np.intp)
        matches = self.used_at[sets] > 0
        for stored, half in zip(self.keys, halves, strict=True):
            matches &= stored[sets] == half[:, None]
        return halves, sets, np.where(matches.any(axis=1), matches.argmax(axis=1), -1)


class MemoryStore:
    """Least recently used entries of each set leave first; safe under threads and forks.

    The first values say how long a slot is. A longer one, from a model with more labels, makes the
    store start anew with longer slots. A forked child keeps what its parent had, unless that was
    changing just then.

    Args:
        capacity_bytes: bound on the memory of the slots; they are touched one by one as they fill.
        ttl_s: seconds after which an entry is forgotten; None for never.
        clock: the time in seconds.

    Raises:
        InvalidArgumentError: `capacity_bytes` has no room for one set.
    """

    def __init__(
        self,
        capacity_bytes: int,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if capacity_bytes < SMALLEST_BYTES:
            raise InvalidArgumentError(
                f"a score cache in memory needs at least {SMALLEST_BYTES} bytes, not "
                f"{capacity_bytes}"
            )
        self._capacity_bytes = capacity_bytes
        self._ttl_s = float("inf") if ttl_s is None else ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._slots: _Slots | None = None
        self._num_calls = 0
        self._num_entries = self._evictions = 0
        renew_in_children(self)

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where there is none."""
        values: list[bytes | None] = []
        for start in range(0, len(keys), CHUNK):
            values += self._get(keys[start : start + CHUNK])
        return values

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (key, value) pairs; a value that is too long for the whole store is not kept."""
        longest_kept = min(self._capacity_bytes // WAYS - SLOT_OVERHEAD_BYTES, 0xFFFF)
        items = [item for item in items if len(item[1]) <= longest_kept]
        for start in range(0, len(items), CHUNK):
            with self._lock:
                self._put(items[start : start + CHUNK])

    def statistics(self) -> StoreStatistics:
        """Counters and size at this moment; what has expired counts until its slot is reused."""
        with self._lock:
            slots = self._slots
            slot_bytes = 0 if slots is None else SLOT_OVERHEAD_BYTES + slots.value_bytes
            return StoreStatistics(
                evictions=self._evictions,
                num_entries=self._num_entries,
                used_bytes=self._num_entries * slot_bytes,
                capacity_bytes=self._capacity_bytes,
            )

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._slots = None
            self._num_entries = 0

    def _get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        values: list[bytes | None] = [None] * len(keys)
        with self._lock:
            slots = self._slots
            if slots is None:
                return values
            _, sets, ways = slots.find(keys)
            # The last way stands in for -1; it is not looked at.
            (known,) = np.nonzero((ways >= 0) & (slots.expires_at[sets, ways] > self._clock()))
            at = sets[known], ways[known]
            self._num_calls += 1
            slots.used_at[at] = self._num_calls
            lengths, rows = slots.lengths[at].tolist(), slots.values[at].tobytes()
        for number, (index, length) in enumerate(zip(known.tolist(), lengths, strict=True)):
            start = number * slots.value_bytes
            values[index] = rows[start : start + length]
        return values

    def _put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        slots = self._slots_for(max(len(value) for _, value in items))
        self._num_calls += 1
        while items:
            items = self._put_one_per_set(slots, items)

    def _slots_for(self, value_bytes: int) -> _Slots:
        if self._slots is None or self._slots.value_bytes < value_bytes:
            self._slots = None  # before its successor takes memory
            self._evictions += self._num_entries
            self._num_entries = 0
            self._slots = _Slots(self._capacity_bytes, value_bytes)
        return self._slots

    def _put_one_per_set(
        self, slots: _Slots, items: Sequence[tuple[bytes, bytes]]
    ) -> list[tuple[bytes, bytes]]:
        """Put the first item of each set; those left over, which meet another in their set."""
        halves, sets, ways = slots.find([key for key, _ in items])
        _, chosen = np.unique(sets, return_index=True)
        sets, ways = sets[chosen], ways[chosen]
        is_new = ways < 0
        used_at = slots.used_at[sets]  # 0 where a slot is free
        ways = np.where(is_new, used_at.argmin(axis=1), ways)
        num_evicted = int((is_new & (used_at.min(axis=1) > 0)).sum())
        self._evictions += num_evicted
        self._num_entries += int(is_new.sum()) - num_evicted

        values = [items[index][1] for index in chosen.tolist()]
        rows = b"".join(value.ljust(slots.value_bytes, b"\0") for value in values)
        at = sets, ways
        slots.keys[:, sets, ways] = halves[:, chosen]
        slots.used_at[at] = self._num_calls
        slots.expires_at[at] = self._clock() + self._ttl_s
        slots.lengths[at] = [len(value) for value in values]
        slots.values[at] = np.frombuffer(rows, np.uint8).reshape(len(values), -1)
        left = np.delete(np.arange(len(items)), chosen)
        return [items[index] for index in left.tolist()]

    def _start_anew(self) -> None:
        if self._lock.locked():
            self._slots = None
            self._num_entries = 0
        self._lock = threading.Lock()
