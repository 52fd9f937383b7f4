"""A store that may fail: what it costs then is a hit, never a score or a wait."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Literal, TypeVar

from zen_fast.fork_safety import renew_in_children
from zen_fast.score_cache.store import ScoreStore, StoreStatistics

logger = logging.getLogger(__name__)

RETRY_S = 10.0
"""Rest after a failure; a server that is out of reach would make every call wait for it."""

Access = Literal["read", "write"]
Answer = TypeVar("Answer")


class FaultTolerantStore:
    """Answers as if nothing were stored while the store behind it fails.

    A store that fails is left in peace for a while; then one call opens it anew and tries. One that
    only refuses to be written, since it is full, is still read. The first failure is logged.

    Args:
        open_store: opens the store: now, and again after a failure.
        name: what the warning calls it.
        errors: exceptions by which it says that it failed; any other reaches the caller.
        remedy: a sentence for the warning.
        retry_s: rest after a failure, in seconds.
        clock: the time in seconds.
    """

    def __init__(
        self,
        open_store: Callable[[], ScoreStore],
        *,
        name: str,
        errors: tuple[type[Exception], ...],
        remedy: str,
        retry_s: float = RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_store = open_store
        self._name = name
        self._errors = errors
        self._remedy = remedy
        self._retry_s = retry_s
        self._clock = clock
        self._lock = threading.Lock()
        self._store: ScoreStore | None = None
        self._retry_at: dict[Access, float] = {}
        self._failures = 0
        renew_in_children(self)
        self._attempt("read", lambda store: None)

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The value of each key, in order; None where there is none, or the store fails."""
        values = self._attempt("read", lambda store: store.get(keys))
        return [None] * len(keys) if values is None else values

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep (key, value) pairs, unless the store fails."""
        self._attempt("write", lambda store: store.put(items))

    def statistics(self) -> StoreStatistics:
        """The store's own, and how many calls have failed."""
        known = self._attempt("read", lambda store: store.statistics())
        return replace(known or StoreStatistics(), failures=self._failures)

    def close(self) -> None:
        """Close the store; errors that it gives then are of no use to anyone."""
        if self._store is not None:
            with suppress(*self._errors):
                self._store.close()

    def _attempt(self, access: Access, call: Callable[[ScoreStore], Answer]) -> Answer | None:
        """What `call` returns; None if the store fails, or failed not long ago."""
        turn = self._turn(access)
        if turn == "rest":
            return None
        try:
            if self._store is None or turn == "retry":
                self._store = self._open_store()
            answer = call(self._store)
        except self._errors as error:
            self._note_failure(access, error)
            return None
        if turn == "retry":
            with self._lock:
                self._retry_at.pop(access, None)
        return answer

    def _turn(self, access: Access) -> Literal["use", "rest", "retry"]:
        with self._lock:
            retry_at = self._retry_at.get(access)
            if retry_at is None:
                return "use"
            if self._clock() < retry_at:
                return "rest"
            # This call finds out for all others.
            self._retry_at[access] = self._clock() + self._retry_s
            return "retry"

    def _note_failure(self, access: Access, error: Exception) -> None:
        with self._lock:
            # What cannot be read is not worth writing.
            for affected in ("read", "write") if access == "read" else ("write",):
                self._retry_at[affected] = self._clock() + self._retry_s
            self._failures += 1
            is_first = self._failures == 1
        if is_first:
            logger.warning(
                "the score cache %s fails (%s: %s). Scoring goes on without it; it is tried again "
                "every %g s. %s",
                self._name,
                type(error).__name__,
                error,
                self._retry_s,
                self._remedy,
            )

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
