from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from zen_fast.tokenization import TokenCache, TokenizedText


def tokenized(num_tokens: int) -> TokenizedText:
    return TokenizedText(np.arange(num_tokens, dtype=np.int32), num_tokens)


def test_get_returns_what_was_put() -> None:
    cache = TokenCache(10_000)
    cache.put([("a", tokenized(3))])
    found = cache.get(["a", "b"])
    assert list(found) == ["a"]
    assert found["a"].num_tokens == 3
    statistics = cache.statistics()
    assert (statistics.hits, statistics.misses, statistics.evictions) == (1, 1, 0)
    assert statistics.num_texts == 1


def test_put_evicts_the_least_recently_used() -> None:
    cache = TokenCache(1_600)  # room for three
    for text in "abc":
        cache.put([(text, tokenized(3))])
    cache.get(["a"])
    cache.put([("d", tokenized(3))])
    assert set(cache.get("abcd")) == {"a", "c", "d"}
    assert cache.statistics().evictions == 1


def test_put_never_exceeds_the_capacity() -> None:
    cache = TokenCache(20_000)
    rng = np.random.default_rng(0)
    for index in range(300):
        cache.put([("x" * int(rng.integers(1, 900)) + str(index), tokenized(index))])
        assert cache.statistics().used_bytes <= 20_000
    assert cache.statistics().num_texts > 5


def test_put_does_not_keep_what_is_larger_than_the_cache() -> None:
    cache = TokenCache(2_000)
    cache.put([("small", tokenized(1)), ("large", tokenized(1_000))])
    assert set(cache.get(["small", "large"])) == {"small"}


def test_capacity_zero_keeps_and_counts_nothing() -> None:
    cache = TokenCache(0)
    cache.put([("a", tokenized(3))])
    assert cache.get(["a"]) == {}
    statistics = cache.statistics()
    assert statistics.misses == statistics.num_texts == statistics.used_bytes == 0


def test_cache_from_many_threads_keeps_its_books() -> None:
    cache = TokenCache(8_000)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(500):
            text = str(rng.integers(0, 40))
            if text not in cache.get([text]):
                cache.put([(text, tokenized(len(text)))])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    statistics = cache.statistics()
    assert statistics.hits + statistics.misses == 8 * 500
    assert 0 < statistics.used_bytes <= 8_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_cache_works_in_a_child_forked_while_it_was_locked() -> None:
    cache = TokenCache(8_000)
    with cache._lock:
        child = os.fork()
        if child == 0:
            cache.put([("a", tokenized(1))])
            os._exit(0 if set(cache.get("ab")) == {"a"} else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
