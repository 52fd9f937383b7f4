"""Windows: their ids are the document's, their spans its characters, and together they hold it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tokenizers import ODD_TEXTS, SAVERS, random_text
from tokenizers import Tokenizer, normalizers
from window_spans import assert_spans_show_the_words

from zen_fast.errors import InvalidArgumentError, InvalidTypeError, ZenError
from zen_fast.tokenization import PairTokenizer, Window
from zen_fast.tokenization.stock_tokenizer import StockTokenizer, load_stock_tokenizer
from zen_fast.tokenization.windows import WindowSettings, query_beside_windows

LONGEST = 512
KINDS = ("bert", "roberta", "deberta", "xlm-roberta", "deberta-v2-lower")

Load = Callable[[str], StockTokenizer]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Loads a miniature tokenizer of some kind, each time anew."""
    folders: dict[str, Path] = {}

    def load_kind(kind: str) -> StockTokenizer:
        folder = folders.get(kind) or SAVERS[kind](tmp_path_factory.mktemp(kind))
        folders[kind] = folder
        config, settings = (
            json.loads((folder / name).read_text())
            for name in ("config.json", "tokenizer_config.json")
        )
        return load_stock_tokenizer(folder, config, settings)

    return load_kind


def chunking(stock: StockTokenizer, max_length: int, **options: Any) -> PairTokenizer:
    return stock.pair_tokenizer(
        longest_supported=LONGEST, max_length=max_length, long_documents="chunk", **options
    )


def windows_of(tokenizer: PairTokenizer, query: str, document: str) -> list[Window]:
    return tokenizer.encode_windows([query], [document])[0]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False).ids


def content(pair: Any) -> tuple[list[int], list[int]]:
    return pair.token_ids.tolist(), pair.token_type_ids.tolist()


@pytest.mark.parametrize("overlap", [0, 0.1, 0.25, 0.5, 0.99])
def test_cut_covers_every_token_with_the_fewest_equal_windows(overlap: float) -> None:
    settings = WindowSettings(overlap)
    for longest in (1, 2, 3, 7, 20, 61):
        least = int(overlap * longest)
        for num_tokens in (0, *range(longest - 1, 4 * longest + 2), 1009):
            windows = settings.cut(num_tokens, longest)
            assert windows[0].start == 0
            assert windows[-1].stop == num_tokens
            if len(windows) == 1:
                assert num_tokens <= longest
                continue
            lengths = {window.stop - window.start for window in windows}
            assert len(lengths) == 1
            length = lengths.pop()
            assert length <= longest
            assert all(0 <= a.stop - b.start < length for a, b in pairwise(windows))
            assert all(a.stop - b.start >= least for a, b in pairwise(windows))
            assert (len(windows) - 1) * longest - (len(windows) - 2) * least < num_tokens


def test_cut_balances_a_document_of_slightly_more_than_a_window() -> None:
    assert WindowSettings(0.25).cut(120, 100) == [slice(0, 73), slice(47, 120)]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("kind", KINDS)
def test_encode_windows_lays_slices_of_the_document_beside_the_whole_query(
    load: Load, kind: str, side: Any
) -> None:
    stock = replace(load(kind), truncation_side=side)
    rng = random.Random(kind)
    for max_length, overlap in ((16, 0.25), (40, 0.0), (64, 0.5)):
        own = chunking(stock, max_length, window_overlap=overlap)
        for _ in range(5):
            query, document = "the zen", random_text(rng, 80)
            query_ids, document_ids = (ids_of(stock.tokenizer, text) for text in (query, document))
            room = max_length - own.layout.num_special_tokens - len(query_ids)
            head = own.layout.head(np.array(query_ids, dtype=np.int32))
            slices = WindowSettings(overlap).cut(len(document_ids), room)
            expected = [
                content(own.layout.pair(head, np.array(document_ids[each], dtype=np.int32)))
                for each in slices
            ]
            assert len(slices) > 1
            assert [content(each.pair) for each in windows_of(own, query, document)] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_encode_windows_of_a_document_that_fits_equals_encode_pairs(load: Load, kind: str) -> None:
    stock = load(kind)
    own = chunking(stock, LONGEST, cache_bytes=10_000)
    truncating = stock.pair_tokenizer(longest_supported=LONGEST)
    queries = ODD_TEXTS[::-1]
    expected = truncating.encode_pairs(queries, ODD_TEXTS)
    for _ in range(2):  # the second time from the cache
        windows = own.encode_windows(queries, ODD_TEXTS)
        assert [[content(each.pair) for each in row] for row in windows] == [
            [content(pair)] for pair in expected
        ]
        assert [row[0].span for row in windows] == [(0, len(text)) for text in ODD_TEXTS]
    assert own.encode_windows([], []) == []


def test_encode_windows_without_a_limit_is_one_window(load: Load) -> None:
    own = PairTokenizer(load("bert").tokenizer, max_length=None, long_documents="chunk")
    document = random_text(random.Random(0), 3_000)
    (window,) = windows_of(own, "a query", document)
    assert content(window.pair) == content(own.encode_pairs(["a query"], [document])[0])
    assert window.span == (0, len(document))


@pytest.mark.parametrize("kind", KINDS)
def test_spans_show_the_windows_words(load: Load, kind: str) -> None:
    stock = load(kind)
    assert_spans_show_the_words(lambda length: chunking(stock, length), stock.tokenizer)


def test_spans_show_the_windows_words_after_normalization_to_other_lengths(load: Load) -> None:
    for kind in ("roberta", "xlm-roberta"):
        for normalizer in (normalizers.NFKC(), normalizers.NFD()):
            tokenizer = load(kind).tokenizer
            tokenizer.normalizer = normalizers.Sequence([normalizer, normalizers.Lowercase()])

            def make(max_length: int, tokenizer: Tokenizer = tokenizer) -> PairTokenizer:
                return PairTokenizer(tokenizer, max_length=max_length, long_documents="chunk")

            assert_spans_show_the_words(make, tokenizer)


def test_spans_of_a_document_of_white_space_are_empty(load: Load) -> None:
    own = chunking(load("roberta"), 16)
    windows = windows_of(own, "a", " " * 50)
    assert len(windows) > 2
    assert all(start == end for start, end in (window.span for window in windows))


def test_query_is_cut_only_where_windows_would_be_under_a_quarter_of_the_room() -> None:
    for room in range(1, 50):
        for num_query in range(2 * room):
            for num_document in (0, 1, 5, 100):
                kept = query_beside_windows(num_query, num_document, room, "longest_first")
                left = room - kept
                assert left >= min(num_document, room / 4)
                if kept < num_query:
                    assert left < room / 4 + 1
                    assert left <= num_document


@pytest.mark.parametrize("side", ["right", "left"])
def test_encode_windows_with_a_long_query(load: Load, side: Any) -> None:
    stock = replace(load("bert"), truncation_side=side)
    query, document = "zen " * 100 + "museum", random_text(random.Random(1), 50)
    own = chunking(stock, 43)
    query_ids = ids_of(stock.tokenizer, query)
    kept = query_ids[:30] if side == "right" else query_ids[-30:]
    windows = windows_of(own, query, document)
    assert len(windows) > 2
    assert all(window.pair.token_ids[1:31].tolist() == kept for window in windows)
    assert windows[0].span[0] == 0
    assert windows[-1].span[1] == len(document)
    with pytest.raises(InvalidArgumentError, match=r"less than a quarter of the 40 tokens"):
        windows_of(chunking(stock, 43, truncation="only_second"), query, document)


def test_choose_keeps_the_windows_that_share_most_distinct_query_tokens() -> None:
    document = np.array([1, 1, 1, 7, 2, 9, 9, 9, 3, 2, 9, 9, 1, 2, 3, 9], dtype=np.int32)
    query = np.array([1, 2, 3, 3, 5], dtype=np.int32)
    windows = [slice(start, start + 4) for start in (0, 4, 8, 12)]

    def chosen(max_windows: int | None) -> list[int]:
        settings = WindowSettings(0, max_windows)
        return [each.start for each in settings.choose(windows, document, query)]

    assert chosen(1) == [12]
    assert chosen(2) == [8, 12]
    assert chosen(3) == [0, 8, 12]
    assert chosen(4) == chosen(9) == chosen(None) == [0, 4, 8, 12]


def test_encode_windows_up_to_max_windows_in_document_order(load: Load) -> None:
    stock = load("bert")
    document = f"{'zen ' * 60}museum {'fox ' * 60}population {'dogs ' * 60}"
    every = windows_of(chunking(stock, 40), "museum population", document)
    some = windows_of(chunking(stock, 40, max_windows=3), "museum population", document)
    assert len(some) == 3 < len(every)
    spans = [window.span for window in some]
    assert spans == sorted(spans)
    assert set(spans) < {window.span for window in every}
    shown = " ".join(document[start:end] for start, end in spans)
    assert "museum" in shown
    assert "population" in shown


def test_cache_counts_the_places_of_tokens_only_where_windows_are_cut(load: Load) -> None:
    stock = load("bert")
    document = random_text(random.Random(2), 400)
    num_tokens = len(ids_of(stock.tokenizer, document))
    used = {}
    for max_length in (32, None):
        for mode in ("truncate", "chunk"):
            own = PairTokenizer(
                stock.tokenizer, max_length=max_length, long_documents=mode, cache_bytes=100_000
            )
            own.encode_pairs([document], [document])
            used[max_length, mode] = own.cache_statistics().used_bytes
    places = used[None, "chunk"] - used[None, "truncate"]
    assert 4 * num_tokens < places < 4 * num_tokens + 200
    assert used[32, "chunk"] == used[None, "chunk"]
    assert used[None, "truncate"] - used[32, "truncate"] == 4 * (num_tokens - 29)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"long_documents": "split"}, InvalidArgumentError, "long_documents='split': accepted are"),
        ({"window_overlap": 1.0}, InvalidArgumentError, r"window_overlap=1\.0"),
        ({"window_overlap": -0.1}, InvalidArgumentError, r"window_overlap=-0\.1"),
        ({"window_overlap": float("nan")}, InvalidArgumentError, "window_overlap=nan"),
        ({"window_overlap": "0.2"}, InvalidTypeError, "window_overlap is a str"),
        ({"max_windows": 0}, InvalidArgumentError, "max_windows=0"),
        ({"max_windows": 2.0}, InvalidTypeError, "max_windows is a float"),
        ({"max_windows": True}, InvalidTypeError, "max_windows is a bool"),
    ],
    ids=str,
)
def test_settings_that_are_not_accepted_raise(
    load: Load, options: dict[str, Any], error: type[ZenError], message: str
) -> None:
    with pytest.raises(error, match=message):
        load("bert").pair_tokenizer(longest_supported=LONGEST, **options)


def test_encode_windows_of_a_tokenizer_that_truncates_raises(load: Load) -> None:
    own = load("bert").pair_tokenizer(longest_supported=LONGEST)
    with pytest.raises(InvalidArgumentError, match='long_documents="chunk"'):
        own.encode_windows(["a"], ["b"])
