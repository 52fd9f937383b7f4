"""Entries on a Redis server, shared by processes of many machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from zen_fast.errors import InvalidArgumentError, MissingDependencyError
from zen_fast.extras import install
from zen_fast.score_cache.store import StoreStatistics

try:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry
except ImportError as error:
    raise MissingDependencyError(
        f"a score cache on Redis needs {error.name}: {install('cache')}"
    ) from error

ERRORS = (RedisError,)
"""By which redis-py says that the server is out of reach, is full, or refuses."""

KEY_PREFIX = b"zen_fast:"

TIMEOUT_S = 0.25
"""Longest wait for a connection and for an answer; `?socket_timeout=1` in the URL changes it."""

MAX_KEYS = 1024
"""Keys in one request, so that a long list of documents does not hold the server up."""


class RedisStore:
    """A Redis server; its `maxmemory` and `maxmemory-policy` bound it and choose what leaves.

    Args:
        url: as redis-py reads it: redis://, rediss:// or unix://. Nothing is connected yet.
        ttl_s: seconds after which an entry is forgotten; None for never.

    Raises:
        InvalidArgumentError: `url` cannot be read.
        redis.RedisError: by every method, where the server is out of reach or refuses.
    """

    def __init__(self, url: str, ttl_s: float | None = None) -> None:
        self._ttl_ms = None if ttl_s is None else max(1, round(1000 * ttl_s))
        try:
            # redis-py's own retries would wait for seconds, and scoring cannot.
            self._redis = Redis.from_url(
                url,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise InvalidArgumentError(
                f"the score cache's URL cannot be read ({error}); it looks like redis://host:6379/0"
            ) from error

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where there is none."""
        values: list[bytes | None] = []
        for start in range(0, len(keys), MAX_KEYS):
            prefixed = [KEY_PREFIX + key for key in keys[start : start + MAX_KEYS]]
            values += cast("list[bytes | None]", self._redis.mget(prefixed))
        return values

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (key, value) pairs, in one round trip for many of them."""
        for start in range(0, len(items), MAX_KEYS):
            with self._redis.pipeline(transaction=False) as pipeline:
                for key, value in items[start : start + MAX_KEYS]:
                    pipeline.set(KEY_PREFIX + key, value, px=self._ttl_ms)
                pipeline.execute()

    def statistics(self) -> StoreStatistics:
        """Counters and size of the whole server and database, whoever else uses them."""
        info = self._redis.info()
        return StoreStatistics(
            evictions=info["evicted_keys"],
            num_entries=self._redis.dbsize(),
            used_bytes=info["used_memory"],
            capacity_bytes=info.get("maxmemory") or None,
        )

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
