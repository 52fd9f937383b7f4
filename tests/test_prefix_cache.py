"""The prefix cache: what is shared by whom, what is kept, and that no score changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zen_fast.backends.cpu import CpuBackend
from zen_fast.batching import Prefix, TokenizedPair
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.errors import InvalidTypeError
from zen_fast.prefix_cache import (
    MIN_SAVED_TOKENS,
    PrefixCache,
)
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec
from zen_fast.weights import Weights, parameter_shapes

PAD_ID = 3
SPEC = EncoderSpec(
    architecture="llama",
    vocab_size=50,
    hidden_size=24,
    num_heads=4,
    num_kv_heads=2,
    intermediate_size=30,
    max_length=120,
    layers=(LayerSpec(rotary=(1.0, 0.3, 0.1)), LayerSpec(rotary=(1.0, 0.3, 0.1), window=20)),
    head=HeadSpec(
        num_labels=1,
        pooling="last",
        dense=False,
        activation=None,
        classifier_bias=False,
        skipped_id=PAD_ID,
    ),
    embedding_norm=False,
    norm_position="pre",
    norm_bias=False,
    norm_centred=False,
    final_norm=True,
    causal=True,
    gate="activate_first",
)
BYTES_PER_TOKEN = 4 * SPEC.floats_kept_per_token
INSTRUCTION = [5] * 40


class Words:
    """A tokenizer of texts that are lists of ids: instruction, query, document."""

    max_token_type = 0

    def encode_pairs(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None
    ) -> list[TokenizedPair]:
        return [
            _pair([*INSTRUCTION, *map(int, query.split()), *map(int, document.split())])
            for query, document in zip(queries, documents, strict=True)
        ]


def _pair(ids: Sequence[int]) -> TokenizedPair:
    return TokenizedPair(np.array(ids, np.int32), np.zeros(len(ids), np.int32))


@pytest.fixture(scope="module")
def backend() -> CpuBackend:
    random = np.random.default_rng(3)
    tensors = {
        name: random.normal(size=shape).astype(np.float32) * (0.3 if len(shape) == 2 else 1.0)
        for name, shape in parameter_shapes(SPEC).items()
    }
    encoder = Encoder(SPEC, Weights(tensors, SPEC.norm_eps, norm_centred=False))
    return CpuBackend(encoder, num_threads=2)


def _engine(backend: CpuBackend, capacity_tokens: int, token_budget: int = 4096) -> Engine:
    tokenizer: Any = Words()
    return Engine(backend, tokenizer, SPEC, token_budget, capacity_tokens * BYTES_PER_TOKEN)


def _queries() -> tuple[list[str], list[str]]:
    """Queries with several documents, mixed, one with a single document, and padded texts."""
    random = np.random.default_rng(0)
    queries, documents = [], []
    for index in range(24):
        query = [6 + index % 3] * (index % 3 * 20) if index != 11 else [40] * 9
        document = random.integers(4, 50, 1 + index % 7).tolist()
        queries.append(" ".join(map(str, query)))
        documents.append(" ".join(map(str, document + [PAD_ID] * (index % 2))))
    return queries, documents


@pytest.mark.parametrize("capacity_tokens", [1, 55, 100, 10_000])
def test_scores_do_not_change_whatever_fits(capacity_tokens: int, backend: CpuBackend) -> None:
    queries, documents = _queries()
    expected = _engine(backend, 0).logits(queries, documents)
    assert expected.std() > 0.1
    engine = _engine(backend, capacity_tokens, token_budget=100)
    for _ in range(2):
        np.testing.assert_array_equal(engine.logits(queries, documents), expected)
        statistics = engine.prefix_cache_statistics()
        assert statistics.used_bytes <= statistics.capacity_bytes
    assert (statistics.saved_tokens > 1000) == (capacity_tokens > 1)


def test_instruction_is_computed_once_for_all_queries(backend: CpuBackend) -> None:
    engine = _engine(backend, 10_000)
    engine.logits(["7 7 7"] * 9, ["10 11", "12"] * 4 + ["13"])
    first = engine.prefix_cache_statistics()
    assert (first.computed_tokens, first.saved_tokens) == (43, 43 * 9)
    engine.logits(["8 8 8 8"] * 9, ["10 11", "12"] * 4 + ["13"])
    second = engine.prefix_cache_statistics()
    assert (second.computed_tokens, second.saved_tokens) == (43 + 4, 43 * 9 + 44 * 9)
    assert second.num_prefixes == 2
    engine.logits(["7 7 7"] * 9, ["20", "30", "40"] * 3)
    assert engine.prefix_cache_statistics().computed_tokens == second.computed_tokens


def test_queries_with_one_document_share_the_instruction_across_calls(backend: CpuBackend) -> None:
    engine = _engine(backend, 10_000)
    for call, query in enumerate(["7 7", "8 8", "9"]):
        engine.logits([query], ["10 11 12"])
        assert engine.prefix_cache_statistics().saved_tokens == (0, 40, 80)[call]
    engine = _engine(backend, 10_000)
    engine.logits(["7 7", "8 8", "9"], ["10 11 12"] * 3)
    statistics = engine.prefix_cache_statistics()
    assert (statistics.computed_tokens, statistics.saved_tokens) == (40, 120)


def _fake_record(tokens: TokenizedPair, known: Prefix | None) -> np.ndarray:
    return np.zeros((len(tokens) - len(known or ()), 2), np.float32)


def test_least_recently_used_prefix_leaves_first() -> None:
    cache = PrefixCache(80 * 8, 8, _fake_record)

    def share(query: int) -> int:
        pairs = [_pair([query] * 35 + [document]) for document in (1, 2, 3)]
        before = cache.statistics().computed_tokens
        assert [len(group.prefixes) for group in cache.groups(pairs)] == [3]
        return cache.statistics().computed_tokens - before

    assert [share(query) for query in (10, 11, 10, 12, 10, 11)] == [35, 35, 0, 35, 0, 35]
    assert cache.statistics().evictions == 2
    assert cache.statistics().used_bytes == 70 * 8


def test_group_holds_no_more_prefixes_than_fit() -> None:
    cache = PrefixCache(80 * 8, 8, _fake_record)
    pairs = [_pair([query] * 35 + [document]) for query in range(10, 15) for document in (1, 2, 3)]
    groups = list(cache.groups(pairs))
    assert [len(group.indices) for group in groups] == [6, 6, 3]
    assert sorted(index for group in groups for index in group.indices) == list(range(15))
    assert all(group.num_bytes <= 80 * 8 for group in groups)


def test_prefix_that_saves_little_is_not_computed() -> None:
    cache = PrefixCache(80 * 8, 8, _fake_record)
    pairs = [_pair([9] * (MIN_SAVED_TOKENS - 1) + [document]) for document in (1, 2)]
    (group,) = cache.groups(pairs)
    assert group.indices == [0, 1]
    assert not group.prefixes


def test_document_that_comes_twice_is_no_prefix() -> None:
    cache = PrefixCache(500 * 8, 8, _fake_record)
    pair = replace(_pair(list(range(1, 101))), num_head_tokens=50)
    for num_shared in (0, 50, 50):
        (group,) = cache.groups([pair])
        assert [len(prefix) for prefix in group.prefixes.values()] == [num_shared][: num_shared > 0]


def test_every_pair_keeps_a_token_of_its_own() -> None:
    cache = PrefixCache(200 * 8, 8, _fake_record)
    beginning = list(range(1, 41))
    pairs = [_pair(beginning), _pair(beginning), _pair([*beginning, 50]), _pair([*beginning, 60])]
    (group,) = cache.groups(pairs)
    assert sorted(group.indices) == [0, 1, 2, 3]
    assert [len(group.prefixes[index]) for index in range(4)] == [39, 39, 39, 39]


def test_reranker_shares_prefixes_without_changing_a_score(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    from tiny_rerankers import save_reranker

    from zen_fast import ZenReranker

    folder = save_reranker(tmp_path / "model")
    vocab_size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = transformers.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=2,
        intermediate_size=48,
        max_position_embeddings=64,
        num_labels=1,
        pad_token_id=0,
    )
    transformers.LlamaForSequenceClassification(config).save_pretrained(folder)
    sharing, alone = (
        ZenReranker.from_pretrained(folder, prefix_cache_mb=megabytes) for megabytes in (1.0, 0.0)
    )
    documents = ["yeast", "bread rises", "the dough", "sun and sky", "a", "b", "c d", "e f g"]
    query = "why does bread rise in the oven"
    np.testing.assert_array_equal(sharing.score(query, documents), alone.score(query, documents))
    assert sharing.prefix_cache_statistics().saved_tokens > 0
    assert alone.prefix_cache_statistics().saved_tokens == 0
    with pytest.raises(InvalidTypeError, match="prefix_cache_mb is a str"):
        ZenReranker.from_pretrained(folder, prefix_cache_mb="1")  # type: ignore[arg-type]


def _headed(head: Sequence[int], document: Sequence[int]) -> TokenizedPair:
    return replace(_pair([*head, *document]), num_head_tokens=len(head))


def test_query_independent_models_share_whole_heads_alone() -> None:
    cache = PrefixCache(100 * 8, 8, _fake_record, whole_heads=True)
    long, other, rare = list(range(1, 41)), [*range(1, 40), 90], list(range(50, 85))
    pairs = [
        *(_headed(long, [document]) for document in (1, 2, 3)),
        *(_headed(other, [document]) for document in (1, 2, 3)),  # as long but for one token
        _headed(rare, [1]),
        _headed([7] * 200, [1]),  # does not fit
        _headed([7] * 200, [2]),
        _headed([8] * 40, []),  # no token of its own
        _headed([8] * 40, []),
    ]
    shared: dict[int, int] = {}
    for group in cache.groups(pairs):
        shared |= {index: len(group.prefixes.get(index, ())) for index in group.indices}
    assert [shared[index] for index in range(len(pairs))] == [40] * 6 + [0] * 5
    assert cache.statistics().computed_tokens == 80
    (group,) = cache.groups([_headed(long, [9])])  # known from the call before
    assert len(group.prefixes[0]) == 40
    assert cache.statistics().computed_tokens == 80


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_query_independent_reranker_shares_heads_without_changing_a_score(
    precision: str, tmp_path: Path
) -> None:
    from tiny_rerankers import save_reranker

    from zen_fast import UnsupportedModelError, ZenReranker

    folder = save_reranker(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["attention_pattern"] = "query_independent"
    (folder / "config.json").write_text(json.dumps(config))
    sharing, alone = (
        ZenReranker.from_pretrained(folder, precision=precision, prefix_cache_mb=megabytes)
        for megabytes in (1.0, 0.0)
    )
    documents = ["yeast", "bread rises", "the dough", "sun and sky", "", "b", "c d", "e f g"]
    query = "why does bread rise in the oven"
    scores = sharing.score(query, documents)
    assert np.std(scores) > 0
    np.testing.assert_array_equal(scores, alone.score(query, documents))
    assert sharing.prefix_cache_statistics().saved_tokens > 0
    assert alone.prefix_cache_statistics().saved_tokens == 0
    with pytest.raises(UnsupportedModelError, match="leave template= out"):
        ZenReranker.from_pretrained(folder, template="{query} {document}")
