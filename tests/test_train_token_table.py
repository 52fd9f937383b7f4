"""Padded pairs gathered from texts that were tokenized once, and what models make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_training import toy_tokenizer
from transformers import BertConfig, BertForSequenceClassification

from zen_fast.train import token_table
from zen_fast.train.list_table import ListTable
from zen_fast.train.pairs import Pair, PairEncoder
from zen_fast.train.student.reading import read_logits, read_pairs
from zen_fast.train.token_table import TokenTable

_QUERIES = ["where does the otter live", "heron", "", "badger " * 30]
_DOCUMENTS = ["The otter lives near the water.", "", "lizard", "salmon and beaver " * 20]
_MAX_QUERY, _MAX_LENGTH = 16, 48


@pytest.fixture
def lists() -> ListTable:
    """Every query with every document."""
    return ListTable.from_texts(_QUERIES, [_DOCUMENTS] * len(_QUERIES))


@pytest.fixture
def tokens(lists: ListTable) -> TokenTable:
    return TokenTable(toy_tokenizer(), lists.texts, _MAX_QUERY, _MAX_LENGTH)


@pytest.fixture
def pairs() -> list[Pair]:
    """The same pairs, one by one."""
    encoder = PairEncoder(toy_tokenizer(), _MAX_QUERY, _MAX_LENGTH)
    return [pair for query in _QUERIES for pair in encoder.encode(query, _DOCUMENTS)]


@pytest.fixture
def model() -> BertForSequenceClassification:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=toy_tokenizer().get_vocab_size(),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
        num_labels=1,
    )
    return BertForSequenceClassification(config).eval()


def test_batches_hold_each_pair_once_as_it_is_encoded(
    lists: ListTable, tokens: TokenTable, pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(token_table._TOKENS_PER_FORWARD, "cpu", 100)
    seen: list[int] = []
    for places, batch in tokens.batches(*lists.pairs(slice(None))):
        assert batch.input_ids.numel() <= 100
        for row, place in enumerate(places.tolist()):
            ids, head = pairs[place]
            assert batch.input_ids[row, : len(ids)].tolist() == ids
            assert not batch.input_ids[row, len(ids) :].any()
            assert int(batch.is_token[row].sum()) == len(ids)
            assert int(batch.in_head[row].sum()) == head
            assert int(batch.token_type_ids[row].sum()) == len(ids) - head
        seen += places.tolist()
    assert sorted(seen) == list(range(len(pairs)))


@pytest.mark.parametrize("max_length", [8, 9, 15, 200])
def test_batches_without_a_longest_query_cut_as_the_stock_tokenizer(
    lists: ListTable, max_length: int
) -> None:
    tokenizer = toy_tokenizer()
    tokens = TokenTable(tokenizer, lists.texts, None, max_length)
    tokenizer.enable_truncation(max_length)  # the longer one first
    stock = [tokenizer.encode(query, text).ids for query in _QUERIES for text in _DOCUMENTS]
    for places, batch in tokens.batches(*lists.pairs(slice(None))):
        for row, place in enumerate(places.tolist()):
            length = int(batch.lengths[row])
            assert batch.input_ids[row, :length].tolist() == stock[place]


def test_batches_take_a_pair_beyond_the_budget_alone(
    lists: ListTable, tokens: TokenTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(token_table._TOKENS_PER_FORWARD, "cpu", 1)
    batches = list(tokens.batches(*lists.pairs(slice(None))))
    assert [len(places) for places, _ in batches] == [1] * 16


def test_read_pairs_equals_stock_forward_for_mixed_lengths(
    lists: ListTable,
    tokens: TokenTable,
    pairs: list[Pair],
    model: BertForSequenceClassification,
) -> None:
    with torch.inference_mode():
        output = read_pairs(model, tokens, *lists.pairs(slice(None)))
        logits = read_logits(model, tokens, *lists.pairs(slice(None)))
        torch.testing.assert_close(logits, output.logits)
        for row, (ids, head) in enumerate(pairs):
            types = torch.tensor([[0] * head + [1] * (len(ids) - head)])
            stock = model(
                input_ids=torch.tensor([ids]), token_type_ids=types, output_hidden_states=True
            )
            assert output.logits[row].item() == pytest.approx(stock.logits.item(), abs=1e-5)
            states = stock.hidden_states[-2][0]
            torch.testing.assert_close(output.query_means[row], states[:head].mean(dim=0))
            torch.testing.assert_close(output.document_means[row], states[head:].mean(dim=0))


def test_pairs_of_some_lists_leave_out_what_shorter_lists_lack() -> None:
    lists = ListTable.from_texts(["a", "b", "a"], [["x"], ["y", "x", "a"], ["y", "z"]])
    queries, documents = lists.pairs(np.array([2, 0]))
    assert [lists.texts[row] for row in queries] == ["a", "a", "a"]
    assert [lists.texts[row] for row in documents] == ["y", "z", "x"]
