from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from zen_fast.errors import InvalidArgumentError, InvalidTypeError
from zen_fast.score_cache import (
    CachedScore,
    MemoryStore,
    ScoreCache,
    ScoreStore,
    open_score_store,
)
from zen_fast.score_cache.cached_score import from_bytes, to_bytes


def score(*logits: float, span: tuple[int, int] | None = None) -> CachedScore:
    return CachedScore(np.array(logits, dtype=np.float32), span)


def make_cache(fingerprint: bytes = b"a model", store: ScoreStore | None = None) -> ScoreCache:
    return ScoreCache(store or MemoryStore(100_000), fingerprint)


def test_get_returns_what_was_put_in_the_order_asked() -> None:
    cache = make_cache()
    cache.put("query", [("one", score(1.5)), ("two", score(-2.0, 0.25, span=(3, 70_000)))])
    two, unknown, one = cache.get("query", ["two", "three", "one"])
    assert unknown is None
    assert one is not None
    assert two is not None
    assert (one.logits.tolist(), one.span) == ([1.5], None)
    assert (two.logits.tolist(), two.span) == ([-2.0, 0.25], (3, 70_000))
    assert two.logits.dtype == np.float32
    assert cache.get("query", []) == []


def test_get_keeps_every_bit_of_a_logit() -> None:
    cache = make_cache()
    logits = np.array([np.nan, np.inf, -0.0, 1e-45, 1 / 3], dtype=np.float32)
    cache.put("query", [("document", CachedScore(logits))])
    (found,) = cache.get("query", ["document"])
    assert found is not None
    assert found.logits.tobytes() == logits.tobytes()


def test_get_tells_apart_what_differs_only_in_where_texts_end() -> None:
    cache = make_cache()
    cache.put("ab", [("c", score(1.0))])
    assert cache.get("a", ["bc"]) == [None]
    assert cache.get("", ["abc"]) == [None]
    assert cache.get("abc", [""]) == [None]


def test_get_tells_instructions_apart_from_queries_and_from_each_other() -> None:
    cache = make_cache()
    cache.put("world", [("d", score(1.0))], instruction="hello")
    assert cache.get("world", ["d"], "hello") != [None]
    for query, instruction in (
        ("5 hello world", None),
        ("hello world", None),
        ("world", None),
        ("world", ""),
        ("hello", "world"),
    ):
        assert cache.get(query, ["d"], instruction) == [None]
    cache.put("world", [("d", score(2.0))], instruction="")
    assert cache.get("world", ["d"]) == [None]


def test_get_tells_models_apart_in_one_store() -> None:
    store = MemoryStore(100_000)
    make_cache(b"ab", store).put("c", [("d", score(1.0))])
    assert make_cache(b"a", store).get("bc", ["d"]) == [None]
    assert make_cache(b"ab", store).get("c", ["d"]) != [None]


def test_lone_surrogates_are_texts_like_others() -> None:
    cache = make_cache()
    cache.put("\udc80", [("\ud83d", score(1.0)), ("�", score(2.0))])
    found = cache.get("\udc80", ["\ud83d", "�", "\ud83d\ude00"])
    assert [each and each.logits.tolist() for each in found] == [[1.0], [2.0], None]


def test_statistics_count_hits_and_misses_and_ask_the_store() -> None:
    cache = make_cache()
    cache.put("query", [("one", score(1.0))])
    cache.get("query", ["one", "two", "one"])
    statistics = cache.statistics()
    assert (statistics.hits, statistics.misses) == (2, 1)
    assert (statistics.num_entries, statistics.evictions, statistics.failures) == (1, 0, 0)
    assert statistics.capacity_bytes == 100_000


@pytest.mark.parametrize("span", [None, (3, 9)])
def test_value_with_any_byte_changed_or_missing_is_none(span: tuple[int, int] | None) -> None:
    value = to_bytes(score(0.5, 2.0, span=span))
    assert from_bytes(value) is not None
    for index in range(len(value)):
        assert from_bytes(value[:index]) is None
        assert from_bytes(value[:index] + bytes([value[index] ^ 0x10]) + value[index + 1 :]) is None
    assert from_bytes(value + b"\0") is None


def test_values_of_one_model_are_equally_long() -> None:
    assert len(to_bytes(score(0.5))) == len(to_bytes(score(2.0, span=(3, 9))))


class DamagedStore:
    """A user's own store, all of whose values are damaged."""

    def __init__(self) -> None:
        self.kept = MemoryStore(100_000)

    def get(self, keys: list[bytes]) -> list[bytes | None]:
        return [value and value[:-1] for value in self.kept.get(keys)]

    def put(self, items: list[tuple[bytes, bytes]]) -> None:
        self.kept.put(items)

    def statistics(self) -> object:
        return self.kept.statistics()

    def close(self) -> None:
        self.kept.close()


def test_damaged_values_are_misses() -> None:
    store = open_score_store(DamagedStore(), capacity_mb=1, ttl_s=None)
    cache = make_cache(store=store)
    cache.put("query", [("document", score(1.0))])
    assert cache.get("query", ["document"]) == [None]
    assert (cache.statistics().hits, cache.statistics().misses) == (0, 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_cache_works_in_a_child_forked_while_it_was_locked() -> None:
    cache = make_cache()
    cache.put("query", [("document", score(1.0))])
    with cache._lock:
        child = os.fork()
        if child == 0:
            found = cache.get("query", ["document"])
            os._exit(0 if found != [None] and cache.statistics().hits == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_open_score_store_takes_none_and_memory() -> None:
    assert open_score_store(None, capacity_mb=1, ttl_s=None) is None
    store = open_score_store("memory", capacity_mb=0.5, ttl_s=60)
    assert isinstance(store, MemoryStore)
    assert store.statistics().capacity_bytes == 500_000


@pytest.mark.parametrize(
    ("where", "capacity_mb", "ttl_s", "said"),
    [
        ("memcached", 1, None, "'memcached'.*'disk:FOLDER'"),
        ("disk:", 1, None, "'disk:'"),
        ("memory", 0, None, "score_cache_mb=0"),
        ("memory", float("inf"), None, "score_cache_mb=inf"),
        ("memory", 1, 0, "score_cache_ttl_s=0"),
        ("memory", 0.001, None, "4096 bytes"),
        ("redis://localhost:port/0", 1, None, "redis://host:6379/0"),
    ],
)
def test_open_score_store_refuses_wrong_values(
    where: str, capacity_mb: float, ttl_s: float | None, said: str
) -> None:
    with pytest.raises(InvalidArgumentError, match=said):
        open_score_store(where, capacity_mb=capacity_mb, ttl_s=ttl_s)


@pytest.mark.parametrize(
    ("where", "capacity_mb", "said"),
    [
        ({}, 1, "score_cache is a dict"),
        (MemoryStore, 1, "score_cache is a type"),
        ("memory", "1", "score_cache_mb is a str"),
    ],
)
def test_open_score_store_refuses_wrong_types(
    where: object, capacity_mb: object, said: str
) -> None:
    with pytest.raises(InvalidTypeError, match=said):
        open_score_store(where, capacity_mb=capacity_mb, ttl_s=None)


@pytest.mark.parametrize(("package", "where"), [("diskcache", "disk:x"), ("redis", "redis://x/0")])
def test_open_score_store_names_the_extra_that_is_missing(package: str, where: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from zen_fast.score_cache import open_score_store\n"
        f"open_score_store({where!r}, capacity_mb=1, ttl_s=None)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 1
    assert "MissingDependencyError" in process.stderr
    assert f"needs {package}: pip install 'zen-fast[cache]'" in process.stderr
