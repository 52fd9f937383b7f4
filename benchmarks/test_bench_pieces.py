"""The pieces of one call on a hundred documents of about 75 tokens, each measured alone."""

from __future__ import annotations

import numpy as np
from conftest import Workbench
from pytest_benchmark.fixture import BenchmarkFixture

from zen_fast.batching import pack, schedule
from zen_fast.score_cache import CachedScore, MemoryStore, ScoreCache

TOKEN_BUDGET = 4096


def test_bench_tokenization(benchmark: BenchmarkFixture, workbench: Workbench) -> None:
    documents = workbench.request.documents
    queries = [workbench.request.query] * len(documents)
    pairs = benchmark(workbench.model.pair_tokenizer.encode_pairs, queries, documents)
    assert len(pairs) == len(documents)


def test_bench_scheduling_and_packing(benchmark: BenchmarkFixture, workbench: Workbench) -> None:
    documents = workbench.request.documents
    queries = [workbench.request.query] * len(documents)
    pairs = workbench.model.pair_tokenizer.encode_pairs(queries, documents)
    lengths = [len(pair) for pair in pairs]

    def schedule_and_pack() -> int:
        batches = schedule(lengths, TOKEN_BUDGET)
        packed = [pack([pairs[i] for i in batch], workbench.model.spec) for batch in batches]
        return sum(batch.num_tokens for batch in packed)

    assert benchmark(schedule_and_pack) == sum(lengths)


def test_bench_score(benchmark: BenchmarkFixture, workbench: Workbench) -> None:
    request = workbench.request
    scores = benchmark(workbench.reranker.score, request.query, request.documents)
    assert scores.shape == (len(request.documents),)


def test_bench_score_cache(benchmark: BenchmarkFixture, workbench: Workbench) -> None:
    request = workbench.request
    cache = ScoreCache(MemoryStore(64_000_000), fingerprint=b"a model")
    score = CachedScore(np.zeros(1, np.float32))
    cache.put(request.query, [(document, score) for document in request.documents])
    assert None not in benchmark(cache.get, request.query, request.documents)
