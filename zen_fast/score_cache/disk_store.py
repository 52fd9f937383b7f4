"""Entries in a folder, shared by the processes of one machine and kept between their lives."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zen_fast.errors import MissingDependencyError
from zen_fast.extras import install
from zen_fast.score_cache.store import StoreStatistics

try:
    import diskcache
except ImportError as error:
    raise MissingDependencyError(
        f"a score cache on disk needs {error.name}: {install('cache')}"
    ) from error

ERRORS = (sqlite3.Error, OSError)
"""By which a folder is said to be corrupt, busy, full or out of reach."""

BUSY_TIMEOUT_S = 0.25
"""Longest wait for others that write: a call to the reranker waits with it."""

CULL_LIMIT = 2
"""Entries that leave at each new one while the folder is full. One would only hold the size; more
would empty the cache, since within one put a SQLite file does not shrink."""


class _PlainBytes(diskcache.Disk):  # type: ignore[misc]
    """diskcache's format without its pickles, which would run whatever a file's writer wished."""

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> Any:
        """The bytes of a row; None for whatever is no plain bytes."""
        return value if mode == diskcache.core.MODE_RAW and isinstance(value, bytes) else None


class DiskStore:
    """A diskcache folder; entries that were stored first leave first.

    Not those used last: that would turn every look-up into a write.

    Args:
        folder: is made where it does not exist.
        capacity_bytes: bound on the database's size; its write-ahead log takes some MB more.
        ttl_s: seconds after which an entry is forgotten; None for never.

    Raises:
        sqlite3.Error, OSError: the folder is corrupt or out of reach; so does every method.
    """

    def __init__(self, folder: Path, capacity_bytes: int, ttl_s: float | None = None) -> None:
        self._ttl_s = ttl_s
        self._cache = diskcache.Cache(
            str(folder),
            timeout=BUSY_TIMEOUT_S,
            disk=_PlainBytes,
            size_limit=capacity_bytes,
            cull_limit=CULL_LIMIT,
            eviction_policy="least-recently-stored",
            statistics=0,
        )

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where there is none."""
        return [self._cache.get(key) for key in keys]

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (key, value) pairs, all in one transaction.

        Raises:
            TimeoutError: others have been writing all the while.
        """
        try:
            with self._cache.transact():
                for key, value in items:
                    self._cache.set(key, value, expire=self._ttl_s)
        except diskcache.Timeout:
            raise TimeoutError(f"others were writing for {BUSY_TIMEOUT_S:g} s") from None

    def statistics(self) -> StoreStatistics:
        """Size at this moment; evictions are not counted."""
        return StoreStatistics(
            num_entries=len(self._cache),
            used_bytes=self._cache.volume(),
            capacity_bytes=self._cache.size_limit,
        )

    def close(self) -> None:
        """Close the calling thread's connection; another thread's closes when the thread ends."""
        self._cache.close()
