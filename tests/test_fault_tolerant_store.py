from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest

from zen_fast.score_cache import FaultTolerantStore, StoreStatistics

RETRY_S = 10.0


class OutageError(Exception):
    """What this store's library would raise."""


class UnsteadyStore:
    """Keeps entries in a dictionary, and fails on demand."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.fails_to_read = self.fails_to_write = False
        self.error: Exception = OutageError("gone")
        self.num_reads = self.num_opened = 0

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.num_reads += 1
        if self.fails_to_read:
            raise self.error
        return [self.kept.get(key) for key in keys]

    def put(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        if self.fails_to_write:
            raise self.error
        self.kept.update(items)

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(num_entries=len(self.kept))

    def close(self) -> None:
        pass

    def opened(self) -> UnsteadyStore:
        self.num_opened += 1
        return self


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def wrapped(open_store: Callable[[], UnsteadyStore]) -> tuple[FaultTolerantStore, Clock]:
    clock = Clock()
    store = FaultTolerantStore(
        open_store,
        name="unsteady",
        errors=(OutageError,),
        remedy="Steady it.",
        retry_s=RETRY_S,
        clock=clock,
    )
    return store, clock


def test_sound_store_is_used_as_it_is() -> None:
    unsteady = UnsteadyStore()
    store, _ = wrapped(unsteady.opened)
    store.put([(b"key", b"value")])
    assert store.get([b"key", b"other"]) == [b"value", None]
    assert store.statistics() == StoreStatistics(num_entries=1, failures=0)
    assert unsteady.num_opened == 1


def test_failing_store_is_left_in_peace_then_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unsteady = UnsteadyStore()
    store, clock = wrapped(unsteady.opened)
    store.put([(b"key", b"value")])
    unsteady.fails_to_read = True
    for _ in range(5):
        assert store.get([b"key"]) == [None]
        store.put([(b"late", b"value")])
    assert unsteady.num_reads == 1
    assert store.statistics() == StoreStatistics(failures=1)
    assert b"late" not in unsteady.kept

    clock.now = RETRY_S
    assert store.get([b"key"]) == [None]
    assert unsteady.num_reads == 2
    clock.now = 2 * RETRY_S
    unsteady.fails_to_read = False
    assert store.get([b"key"]) == [b"value"]
    assert unsteady.num_opened == 3
    store.put([(b"late", b"value")])
    assert store.get([b"late"]) == [b"value"]
    assert store.statistics() == StoreStatistics(num_entries=2, failures=2)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert "unsteady" in message
    assert "OutageError: gone" in message
    assert "Steady it." in message


def test_store_that_only_refuses_writes_is_still_read() -> None:
    unsteady = UnsteadyStore()
    store, _ = wrapped(unsteady.opened)
    store.put([(b"key", b"value")])
    unsteady.fails_to_write = True
    store.put([(b"other", b"value")])
    unsteady.fails_to_write = False
    store.put([(b"third", b"value")])
    assert store.get([b"key", b"other", b"third"]) == [b"value", None, None]
    assert store.statistics().failures == 1


def test_after_the_rest_one_call_finds_out_for_the_others() -> None:
    unsteady = UnsteadyStore()
    unsteady.fails_to_read = True
    store, clock = wrapped(unsteady.opened)
    store.get([b"key"])
    clock.now = RETRY_S

    def get_meanwhile(keys: Sequence[bytes]) -> list[bytes | None]:
        assert store.get([b"key"]) == [None]
        return [b"value"]

    unsteady.get = get_meanwhile  # type: ignore[method-assign]
    assert store.get([b"key"]) == [b"value"]


def test_store_that_cannot_be_opened_is_opened_later(caplog: pytest.LogCaptureFixture) -> None:
    unsteady = UnsteadyStore()
    is_there = False

    def open_store() -> UnsteadyStore:
        if not is_there:
            raise OutageError("not yet")
        return unsteady

    store, clock = wrapped(open_store)
    assert len(caplog.records) == 1  # while the model loads, not at the first query
    assert store.get([b"key"]) == [None]
    is_there, clock.now = True, RETRY_S
    store.put([(b"key", b"value")])
    assert store.get([b"key"]) == [b"value"]


def test_error_that_was_not_named_reaches_the_caller() -> None:
    unsteady = UnsteadyStore()
    store, _ = wrapped(unsteady.opened)
    unsteady.fails_to_read, unsteady.error = True, KeyError("a bug")
    with pytest.raises(KeyError, match="a bug"):
        store.get([b"key"])
