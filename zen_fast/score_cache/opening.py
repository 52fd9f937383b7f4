"""From the name of a place to the store that keeps scores there."""

from __future__ import annotations

from numbers import Real
from pathlib import Path
from urllib.parse import urlsplit

from zen_fast.errors import InvalidArgumentError, InvalidTypeError
from zen_fast.score_cache.fault_tolerant_store import FaultTolerantStore
from zen_fast.score_cache.memory_store import MemoryStore
from zen_fast.score_cache.store import ScoreStore

PLACES = "'memory', 'disk:FOLDER', 'redis://HOST:PORT/DATABASE', a ScoreStore, or None"

_DISK = "disk:"
_REDIS = ("redis://", "rediss://", "unix://")


def open_score_store(
    where: str | ScoreStore | None, *, capacity_mb: float, ttl_s: float | None
) -> ScoreStore | None:
    """The store that `where` names.

    A folder that is corrupt or full, or a server that is out of reach, is logged once and costs
    hits alone. A store of the caller's own is taken as it is, and its errors reach the caller:
    wrap it in a FaultTolerantStore to name those that should not.

    Args:
        where: "memory"; "disk:FOLDER", for the processes of one machine; "redis://HOST:PORT/DB"
            (also rediss:// and unix://), for several machines; a store; None for none.
        capacity_mb: bound in MB on memory or folder; a Redis server has a bound of its own.
        ttl_s: seconds after which a score is forgotten; None for never.

    Raises:
        InvalidArgumentError, InvalidTypeError: an argument is not accepted.
        MissingDependencyError: diskcache or redis is not installed.
    """
    capacity_bytes = int(1e6 * _positive("score_cache_mb", capacity_mb))
    if ttl_s is not None:
        ttl_s = _positive("score_cache_ttl_s", ttl_s)
    if where is None:
        return None
    if not isinstance(where, str):
        if not isinstance(where, ScoreStore) or isinstance(where, type):
            raise InvalidTypeError(
                f"score_cache is a {type(where).__name__}; accepted are {PLACES}"
            )
        return where
    if where == "memory":
        return MemoryStore(capacity_bytes, ttl_s)
    if where.startswith(_DISK) and where != _DISK:
        return _open_disk(Path(where.removeprefix(_DISK)).expanduser(), capacity_bytes, ttl_s)
    if where.startswith(_REDIS):
        return _open_redis(where, ttl_s)
    raise InvalidArgumentError(f"score_cache={where!r}: accepted are {PLACES}")


def _open_disk(folder: Path, capacity_bytes: int, ttl_s: float | None) -> ScoreStore:
    from zen_fast.score_cache.disk_store import ERRORS, DiskStore

    return FaultTolerantStore(
        lambda: DiskStore(folder, capacity_bytes, ttl_s),
        name=f"{_DISK}{folder}",
        errors=ERRORS,
        remedy="If the folder is corrupt, delete it; if the disk is full, make room or name "
        "another folder; for more processes than a folder can serve there is Redis.",
    )


def _open_redis(url: str, ttl_s: float | None) -> ScoreStore:
    from zen_fast.score_cache.redis_store import ERRORS, RedisStore

    return FaultTolerantStore(
        lambda: RedisStore(url, ttl_s),
        name=_without_password(url),
        errors=ERRORS,
        remedy="Start the server or correct the address; one that is full needs a larger maxmemory "
        "or the maxmemory-policy allkeys-lru.",
    )


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _positive(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a number")
    number = float(value)
    if not 0 < number < float("inf"):
        raise InvalidArgumentError(f"{name}={number}: it must be finite and above 0")
    return number
