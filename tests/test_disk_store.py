from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zen_fast.score_cache import FaultTolerantStore, ScoreStore, open_score_store

diskcache = pytest.importorskip(
    "diskcache", reason="needs the extra: pip install 'zen-fast[cache]'"
)
from zen_fast.score_cache.disk_store import BUSY_TIMEOUT_S, ERRORS, DiskStore  # noqa: E402

VALUE = bytes(range(12))


def keys_of(num: int) -> list[bytes]:
    random = np.random.default_rng(0).bytes(16 * num)
    return [random[start : start + 16] for start in range(0, len(random), 16)]


def open_folder(folder: Path) -> ScoreStore:
    store = open_score_store(f"disk:{folder}", capacity_mb=10, ttl_s=None)
    assert store is not None
    return store


def test_entries_are_shared_and_outlive_the_store(tmp_path: Path) -> None:
    first, second, third = keys_of(3)
    store, beside = open_folder(tmp_path / "new"), open_folder(tmp_path / "new")
    store.put([(first, VALUE), (second, b"old")])
    beside.put([(second, b"new")])
    assert store.get([third, second, first]) == [None, b"new", VALUE]
    store.close()
    beside.close()
    again = open_folder(tmp_path / "new")
    assert again.get([first]) == [VALUE]
    assert again.statistics().num_entries == 2
    assert again.statistics().capacity_bytes == 10_000_000


def test_folder_keeps_to_its_size_and_to_what_came_last(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, capacity_bytes=500_000)
    keys = keys_of(6_000)
    for start in range(0, len(keys), 100):
        store.put([(key, VALUE) for key in keys[start : start + 100]])
    used = store.statistics().used_bytes
    assert used is not None
    assert 400_000 < used < 525_000
    is_kept = [value is not None for value in store.get(keys)]
    assert not any(is_kept[:1_000])
    assert all(is_kept[-1_000:])


def test_entries_are_forgotten_after_their_time(tmp_path: Path) -> None:
    store = DiskStore(tmp_path, 1_000_000, ttl_s=0.2)
    (key,) = keys_of(1)
    store.put([(key, VALUE)])
    assert store.get([key]) == [VALUE]
    time.sleep(0.25)
    assert store.get([key]) == [None]


class Planted:
    """Unpickling it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_pickles_that_someone_planted_are_not_opened(tmp_path: Path) -> None:
    keys = keys_of(3)
    with diskcache.Cache(str(tmp_path / "cache")) as cache:
        cache[keys[0]] = Planted(tmp_path / "trap")
        cache[keys[1]] = "a text"
        cache[keys[2]] = bytes(100_000)  # in a file of its own
    assert open_folder(tmp_path / "cache").get(keys) == [None] * 3
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("damage_at", [0, 4096])
def test_corrupt_database_costs_hits_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage_at: int
) -> None:
    folder = tmp_path / "cache"
    keys = keys_of(500)
    sound = open_folder(folder)
    sound.put([(key, VALUE) for key in keys])
    sound.close()
    database = folder / "cache.db"
    content = bytearray(database.read_bytes())
    content[damage_at:] = b"\xa5" * (len(content) - damage_at)
    database.write_bytes(content)

    now = [0.0]
    store = FaultTolerantStore(
        lambda: DiskStore(folder, 10_000_000),
        name=f"disk:{folder}",
        errors=ERRORS,
        remedy="Delete it.",
        clock=lambda: now[0],
    )
    for _ in range(3):
        store.put([(keys[0], VALUE)])
        assert store.get(keys) == [None] * len(keys)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(folder) in record.getMessage()
    assert "DatabaseError" in record.getMessage()

    shutil.rmtree(folder)
    now[0] = 60.0
    assert store.get(keys[:1]) == [None]
    store.put([(keys[0], VALUE)])
    assert store.get(keys[:1]) == [VALUE]


def test_folder_that_cannot_be_made_costs_hits_and_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = open_folder(tmp_path / "file" / "cache")
    (key,) = keys_of(1)
    store.put([(key, VALUE)])
    assert store.get([key]) == [None]
    (record,) = caplog.records
    assert "name another folder" in record.getMessage()


def test_folder_that_others_write_to_is_not_waited_for_but_read(tmp_path: Path) -> None:
    store, other = open_folder(tmp_path), diskcache.Cache(str(tmp_path))
    first, second = keys_of(2)
    store.put([(first, VALUE)])
    with other.transact():
        start = time.perf_counter()
        for _ in range(20):
            store.put([(second, VALUE)])
        assert time.perf_counter() - start < 10 * BUSY_TIMEOUT_S
        assert store.get([first, second]) == [VALUE, None]
    assert store.statistics().failures == 1


FULL_DISK = """
import logging, resource, sys
from zen_fast.score_cache import open_score_store

logging.basicConfig(format="%(levelname)s %(message)s", stream=sys.stdout)
store = open_score_store("disk:" + sys.argv[1], capacity_mb=100, ttl_s=None)
keys = [index.to_bytes(16, "little") for index in range(4000)]
store.put([(key, b"before") for key in keys[:10]])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # no file may grow beyond this
for start in range(0, len(keys), 100):
    store.put([(key, bytes(500)) for key in keys[start : start + 100]])
print("failures", store.statistics().failures)
print("still known", sum(value is not None for value in store.get(keys[:10])))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
def test_full_disk_stops_writes_and_not_reads(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.count("WARNING") == 1
    assert "make room" in process.stdout
    assert "failures 1\n" in process.stdout
    assert "still known 10" in process.stdout
