"""A bounded memory of texts that were tokenized before."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from zen_fast.batching import Int32Array
from zen_fast.fork_safety import renew_in_children

ENTRY_OVERHEAD_BYTES = 400
"""Measured on CPython 3.11: dictionary slot with its links, entry object, numpy array header."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """One text without special tokens, cut to what any pair could keep of it."""

    token_ids: Int32Array
    """(num_kept,) int32"""
    num_tokens: int
    """Tokens of the whole text: truncation depends on it."""
    token_starts: Int32Array | None = None
    """(num_kept,) int32, first character of each token; only where windows are cut, which keeps
    the whole text."""


@dataclass(frozen=True)
class TokenCacheStatistics:
    """What a token cache did since it was made, and what it holds now."""

    hits: int
    misses: int
    evictions: int
    num_texts: int
    used_bytes: int
    capacity_bytes: int


class TokenCache:
    """Text → tokens, least recently used texts leave first; safe under threads.

    Args:
        capacity_bytes: bound on the memory of texts and tokens together; 0 keeps nothing.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._entries: OrderedDict[str, TokenizedText] = OrderedDict()
        self._lock = threading.Lock()
        self._used_bytes = 0
        self._hits = self._misses = self._evictions = 0
        renew_in_children(self)

    def get(self, texts: Iterable[str]) -> dict[str, TokenizedText]:
        """Those of `texts` that are known."""
        found: dict[str, TokenizedText] = {}
        if not self._capacity_bytes:
            return found
        with self._lock:
            for text in texts:
                entry = self._entries.get(text)
                if entry is None:
                    self._misses += 1
                    continue
                self._hits += 1
                self._entries.move_to_end(text)
                found[text] = entry
        return found

    def put(self, entries: Iterable[tuple[str, TokenizedText]]) -> None:
        """Remember `entries`; one that is larger than the whole cache is not kept."""
        if not self._capacity_bytes:
            return
        with self._lock:
            for text, entry in entries:
                size_bytes = _size_bytes(text, entry)
                if text in self._entries or size_bytes > self._capacity_bytes:
                    continue
                self._entries[text] = entry
                self._used_bytes += size_bytes
                while self._used_bytes > self._capacity_bytes:
                    self._used_bytes -= _size_bytes(*self._entries.popitem(last=False))
                    self._evictions += 1

    def statistics(self) -> TokenCacheStatistics:
        """Counters and size at this moment."""
        with self._lock:
            return TokenCacheStatistics(
                hits=self._hits,
                misses=self._misses,
                evictions=self._evictions,
                num_texts=len(self._entries),
                used_bytes=self._used_bytes,
                capacity_bytes=self._capacity_bytes,
            )

    def _start_anew(self) -> None:
        """Forget everything, the lock included: a fork may have cut a put() in two."""
        self._lock = threading.Lock()
        self._entries = OrderedDict()
        self._used_bytes = 0


def _size_bytes(text: str, entry: TokenizedText) -> int:
    starts_bytes = 0 if entry.token_starts is None else sys.getsizeof(entry.token_starts)
    return sys.getsizeof(text) + entry.token_ids.nbytes + starts_bytes + ENTRY_OVERHEAD_BYTES
