from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zen_fast.score_cache.memory_store import SLOT_OVERHEAD_BYTES, WAYS, MemoryStore

VALUE = bytes(range(12))


def keys_of(num: int, seed: int = 0) -> list[bytes]:
    random = np.random.default_rng(seed).bytes(16 * num)
    return [random[start : start + 16] for start in range(0, len(random), 16)]


def one_set_store() -> tuple[MemoryStore, bytes]:
    """A store of a single set, and a value that fills one of its slots."""
    capacity_bytes = 4096
    return MemoryStore(capacity_bytes), bytes(capacity_bytes // WAYS - SLOT_OVERHEAD_BYTES)


def test_get_returns_what_was_put_whatever_its_length() -> None:
    store = MemoryStore(100_000)
    keys = keys_of(20)
    values = [b"v" * length for length in range(20)]
    store.put(list(zip(keys, values, strict=True)))
    assert store.get([*keys[::-1], bytes(16)]) == [*values[::-1], None]


def test_get_from_an_empty_store_finds_nothing() -> None:
    store = MemoryStore(100_000)
    assert store.get(keys_of(2)) == [None, None]
    store.put([])
    assert store.get([]) == []


def test_put_replaces_and_the_last_of_one_key_stays() -> None:
    store, value = one_set_store()
    first, second = keys_of(2)
    store.put([(first, value)])
    store.put([(first, b"old"), (second, b"other"), (first, b"new")])
    assert store.get([first, second]) == [b"new", b"other"]
    assert store.statistics().num_entries == 2


def test_put_evicts_the_least_recently_used_of_a_full_set() -> None:
    store, value = one_set_store()
    *keys, another = keys_of(WAYS + 1)
    for key in keys:
        store.put([(key, value)])
    store.get(keys[:1])
    store.put([(another, value)])
    assert [key for key in keys if store.get([key]) == [None]] == [keys[1]]
    statistics = store.statistics()
    assert (statistics.evictions, statistics.num_entries) == (1, WAYS)
    assert statistics.used_bytes == statistics.capacity_bytes == 4096


def test_put_of_more_than_a_set_at_once_keeps_the_last() -> None:
    store, value = one_set_store()
    keys = keys_of(3 * WAYS)
    store.put([(key, value) for key in keys])
    assert store.get(keys[-1:]) == [value]
    assert store.statistics().num_entries == WAYS
    assert store.statistics().evictions == 2 * WAYS


def test_three_quarters_of_the_slots_are_kept_nearly_whole() -> None:
    store = MemoryStore(1_000_000)
    keys = keys_of(int(0.75 * 1_000_000 / (SLOT_OVERHEAD_BYTES + len(VALUE))))
    for start in range(0, len(keys), 100):
        store.put([(key, VALUE) for key in keys[start : start + 100]])
    num_kept = sum(value is not None for value in store.get(keys))
    assert num_kept == store.statistics().num_entries
    assert num_kept > 0.99 * len(keys)


def test_entries_are_forgotten_after_their_time_and_can_come_back() -> None:
    now = [100.0]
    store = MemoryStore(100_000, ttl_s=5.0, clock=lambda: now[0])
    (key,) = keys_of(1)
    store.put([(key, VALUE)])
    now[0] = 104.9
    assert store.get([key]) == [VALUE]
    now[0] = 105.0
    assert store.get([key]) == [None]
    store.put([(key, b"again")])
    assert store.get([key]) == [b"again"]
    assert store.statistics().num_entries == 1


def test_longer_values_start_the_store_anew() -> None:
    store = MemoryStore(100_000)
    first, second = keys_of(2)
    store.put([(first, VALUE)])
    store.put([(second, 2 * VALUE)])
    assert store.get([first, second]) == [None, 2 * VALUE]
    assert store.statistics().evictions == 1
    store.put([(first, VALUE)])
    assert store.get([first, second]) == [VALUE, 2 * VALUE]


def test_value_too_long_for_the_store_is_not_kept() -> None:
    store, value = one_set_store()
    first, second = keys_of(2)
    store.put([(first, value + b"x"), (second, value)])
    assert store.get([first, second]) == [None, value]


def test_close_forgets_everything() -> None:
    store = MemoryStore(100_000)
    (key,) = keys_of(1)
    store.put([(key, VALUE)])
    store.close()
    assert store.get([key]) == [None]
    assert store.statistics().used_bytes == 0


def test_store_from_many_threads_never_mixes_entries_up() -> None:
    store = MemoryStore(20_000)
    keys = keys_of(2_000)

    def work(seed: int) -> int:
        rng, num_found = np.random.default_rng(seed), 0
        for _ in range(150):
            chosen = [keys[index] for index in rng.integers(0, len(keys), 20)]
            store.put([(key, key[:12]) for key in chosen[:10]])
            for key, value in zip(chosen, store.get(chosen), strict=True):
                assert value in (None, key[:12])
                num_found += value is not None
        return num_found

    with ThreadPoolExecutor(8) as pool:
        assert min(pool.map(work, range(8))) > 0
    statistics = store.statistics()
    num_held = sum(value is not None for value in store.get(keys))
    assert statistics.num_entries == num_held
    assert statistics.used_bytes is not None
    assert 15_000 < statistics.used_bytes <= 20_000


MILLION_INSERTS = """
import os, threading
from zen_fast.score_cache.memory_store import MemoryStore

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def peak_bytes():  # getrusage would give the parent's where that is larger
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

def work(thread, store, num_keys):
    for start in range(0, num_keys, 500):
        random = os.urandom(16 * 500)
        keys = [random[at : at + 16] for at in range(0, len(random), 16)]
        store.put([(key, key[:12]) for key in keys])
        assert store.get(keys[-1:]) == [keys[-1][:12]]

def work_in_threads(store, num_keys):
    threads = [threading.Thread(target=work, args=(i, store, num_keys)) for i in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

work_in_threads(MemoryStore(100_000), 1_000)  # what threads and numpy take for themselves
before = resident_bytes()
store = MemoryStore(44_000_000)
work_in_threads(store, 125_000)
print(peak_bytes() - before, store.statistics().used_bytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")
def test_process_takes_no_more_than_the_bound_under_a_million_inserts_from_8_threads() -> None:
    process = subprocess.run(
        [sys.executable, "-c", MILLION_INSERTS], capture_output=True, text=True, check=True
    )
    really_taken, used = map(int, process.stdout.split())
    assert 0.95 * 44_000_000 < really_taken < 1.05 * 44_000_000
    assert 0.9 * 44_000_000 < used <= 44_000_000


@pytest.fixture
def warm_store() -> Iterator[tuple[MemoryStore, bytes]]:
    store = MemoryStore(100_000)
    (key,) = keys_of(1)
    store.put([(key, VALUE)])
    yield store, key
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("is_changing", [False, True])
def test_forked_child_keeps_entries_unless_they_were_changing(
    warm_store: tuple[MemoryStore, bytes], is_changing: bool
) -> None:
    store, key = warm_store
    if is_changing:
        store._lock.acquire()
    child = os.fork()
    if child == 0:
        found = store.get([key])
        store.put([(key, b"child's")])
        is_right = found == [None if is_changing else VALUE] and store.get([key]) == [b"child's"]
        os._exit(0 if is_right else 1)
    if is_changing:
        store._lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.get([key]) == [VALUE]
