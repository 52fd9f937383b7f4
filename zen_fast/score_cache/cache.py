"""The score cache: pairs that were scored before, whatever store keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from zen_fast.fork_safety import renew_in_children
from zen_fast.score_cache.cached_score import CachedScore, from_bytes, to_bytes
from zen_fast.score_cache.store import KEY_BYTES, ScoreStore


@dataclass(frozen=True, slots=True)
class ScoreCacheStatistics:
    """What a score cache did since it was made, and what its store holds; None where unknown."""

    hits: int
    misses: int
    evictions: int | None
    num_entries: int | None
    used_bytes: int | None
    capacity_bytes: int | None
    failures: int
    """Calls of the store that failed, and were answered as misses."""


class ScoreCache:
    """(query, document) → score, for one model; safe under threads and across forks.

    Args:
        store: keeps the entries; several models and processes may share one.
        fingerprint: of all else that a score depends on, see `model_fingerprint`.
    """

    def __init__(self, store: ScoreStore, fingerprint: bytes) -> None:
        self._store = store
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._hits = self._misses = 0
        renew_in_children(self)

    def get(
        self, query: str, documents: Sequence[str], instruction: str | None = None
    ) -> list[CachedScore | None]:
        """The score of each document for `query`, in order; None where it is not known.

        A value that is damaged counts as not known.
        """
        values = self._store.get(list(self._keys(query, instruction, documents)))
        found = [None if value is None else from_bytes(value) for value in values]
        num_misses = found.count(None)
        with self._lock:
            self._hits += len(found) - num_misses
            self._misses += num_misses
        return found

    def put(
        self,
        query: str,
        scored: Sequence[tuple[str, CachedScore]],
        instruction: str | None = None,
    ) -> None:
        """Remember documents with their scores for `query`."""
        keys = self._keys(query, instruction, (document for document, _ in scored))
        self._store.put(
            [(key, to_bytes(score)) for key, (_, score) in zip(keys, scored, strict=True)]
        )

    def statistics(self) -> ScoreCacheStatistics:
        """Counters and size at this moment."""
        of_store = self._store.statistics()
        with self._lock:
            return ScoreCacheStatistics(
                hits=self._hits,
                misses=self._misses,
                evictions=of_store.evictions,
                num_entries=of_store.num_entries,
                used_bytes=of_store.used_bytes,
                capacity_bytes=of_store.capacity_bytes,
                failures=of_store.failures,
            )

    def _keys(
        self, query: str, instruction: str | None, documents: Iterable[str]
    ) -> Iterator[bytes]:
        """Digests of all that a score depends on; lengths keep apart what is concatenated."""
        # One byte keeps the empty instruction apart from none.
        instructed = b"" if instruction is None else b"=" + _encoded(instruction)
        common = blake2b(digest_size=KEY_BYTES)
        for part in (self._fingerprint, _encoded(query), instructed):
            common.update(len(part).to_bytes(8, "little"))
            common.update(part)
        for document in documents:
            digest = common.copy()
            digest.update(_encoded(document))
            yield digest.digest()

    def _start_anew(self) -> None:
        self._lock = threading.Lock()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
