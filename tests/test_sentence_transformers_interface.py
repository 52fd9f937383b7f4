"""`predict` and `rank` against the CrossEncoder of sentence-transformers itself."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from tiny_rerankers import save_reranker
from tiny_tokenizers import ODD_TEXTS, SENTENCES
from tolerances import PARITY_PER_SPREAD

from zen_fast import (
    CheckpointError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    UnsupportedDeviceError,
    UnsupportedModelError,
    ZenReranker,
)
from zen_fast.placement import device_names

QUERY = SENTENCES[0]
PAIRS = [(query, document) for query in SENTENCES[:3] for document in (*SENTENCES, *ODD_TEXTS)]
KINDS = [("bert", 1), ("bert", 3), ("roberta", 1), ("modernbert", 2)]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CrossEncoder, ZenReranker]:
    torch.set_num_threads(1)
    kind, num_labels = request.param
    folder = save_reranker(tmp_path_factory.mktemp(kind), kind, num_labels)
    return CrossEncoder(str(folder), device="cpu"), ZenReranker.from_pretrained(folder)


@pytest.fixture(scope="module")
def one_label(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[CrossEncoder, ZenReranker]:
    torch.set_num_threads(1)
    folder = save_reranker(tmp_path_factory.mktemp("one"))
    return CrossEncoder(str(folder), device="cpu"), ZenReranker.from_pretrained(folder)


def assert_equal(own: Any, stock: Any) -> None:
    assert type(own) is type(stock)
    assert own.shape == stock.shape
    assert own.dtype == stock.dtype
    spread = max(float(np.std(np.asarray(stock))), 0.1)
    np.testing.assert_allclose(own, stock, rtol=0, atol=PARITY_PER_SPREAD * spread)


def test_predict_equals_stock(both: tuple[CrossEncoder, ZenReranker]) -> None:
    stock, own = both
    assert own.max_length == stock.max_seq_length
    assert own.num_labels == stock.num_labels
    assert_equal(own.predict(PAIRS), stock.predict(PAIRS))
    assert_equal(own.predict(PAIRS, batch_size=3), stock.predict(PAIRS, batch_size=3))


@pytest.mark.parametrize(
    "options",
    [
        {"apply_softmax": True},
        {"convert_to_tensor": True},
        {"convert_to_tensor": True, "convert_to_numpy": False},
        {"activation_fn": torch.nn.Identity()},
        {"activation_fn": torch.nn.Tanh(), "apply_softmax": True},
        {"activation_fn": torch.nn.Softplus()},
        {"prompt": "query: "},
    ],
    ids=str,
)
def test_predict_options_equal_stock(
    both: tuple[CrossEncoder, ZenReranker], options: dict[str, Any]
) -> None:
    stock, own = both
    assert_equal(own.predict(PAIRS[:20], **options), stock.predict(PAIRS[:20], **options))


def test_predict_shapes_of_inputs_equal_stock(both: tuple[CrossEncoder, ZenReranker]) -> None:
    stock, own = both
    for inputs in (
        PAIRS[3],
        list(PAIRS[3]),
        PAIRS[:1],
        [list(pair) for pair in PAIRS[:4]],
        tuple(PAIRS[:4]),
        np.array(PAIRS[:4]),
        np.array(PAIRS[3]),
        np.array(PAIRS[:4], dtype=object),
    ):
        assert_equal(own.predict(inputs), stock.predict(inputs))
    for empty in ([], (), np.array([], dtype=str)):
        assert own.predict(empty).size == stock.predict(empty).size == 0


def test_predict_list_of_tensors_equals_stock(both: tuple[CrossEncoder, ZenReranker]) -> None:
    stock, own = both
    ours = own.predict(PAIRS[:5], convert_to_numpy=False)
    theirs = stock.predict(PAIRS[:5], convert_to_numpy=False)
    assert type(ours) is type(theirs) is list
    for tensor, expected in zip(ours, theirs, strict=True):
        assert_equal(tensor, expected)
    single = own.predict(PAIRS[0], convert_to_numpy=False)
    assert_equal(single, stock.predict(PAIRS[0], convert_to_numpy=False))


def test_rank_equals_stock(one_label: tuple[CrossEncoder, ZenReranker]) -> None:
    stock, own = one_label
    for options in (
        {},
        {"top_k": 3},
        {"top_k": 100, "return_documents": True},
        {"activation_fn": torch.nn.Identity()},
        {"prompt": "query: ", "batch_size": 2},
    ):
        ours = own.rank(QUERY, list(SENTENCES), **options)
        theirs = stock.rank(QUERY, list(SENTENCES), **options)
        assert [list(entry) for entry in ours] == [list(entry) for entry in theirs]
        for entry, expected in zip(ours, theirs, strict=True):
            assert entry["corpus_id"] == expected["corpus_id"]
            assert type(entry["score"]) is float
            assert entry["score"] == pytest.approx(expected["score"], abs=1e-5)
            assert entry.get("text") == expected.get("text")
    assert own.rank(QUERY, []) == stock.rank(QUERY, []) == []


def test_rank_several_labels_raises_value_error_as_stock(tmp_path: Path) -> None:
    folder = save_reranker(tmp_path, num_labels=2)
    for model in (CrossEncoder(str(folder), device="cpu"), ZenReranker.from_pretrained(folder)):
        with pytest.raises(ValueError, match="predict"):
            model.rank(QUERY, list(SENTENCES))


def test_rank_returns_the_documents_themselves(
    one_label: tuple[CrossEncoder, ZenReranker],
) -> None:
    documents = [{"text": text, "id": index} for index, text in enumerate(SENTENCES)]
    for entry in one_label[1].rank(QUERY, documents, return_documents=True):
        assert entry["text"] is documents[entry["corpus_id"]]


@pytest.mark.parametrize("method", ["predict", "rank"])
def test_signature_begins_as_stock(method: str) -> None:
    own = inspect.signature(getattr(ZenReranker, method)).parameters
    stock = inspect.signature(getattr(CrossEncoder, method)).parameters
    stock_names = [name for name in stock if name != "kwargs"]
    assert list(own)[: len(stock_names)] == stock_names
    for name in stock_names:
        if name != "inputs":
            assert own[name].default == stock[name].default, name
    assert not any(p.kind is p.VAR_KEYWORD for p in own.values())


def test_old_names_are_accepted_with_a_warning(
    one_label: tuple[CrossEncoder, ZenReranker],
) -> None:
    own = one_label[1]
    with pytest.warns(DeprecationWarning, match="sentences of predict"):
        scores = own.predict(sentences=PAIRS[:2])
    np.testing.assert_array_equal(scores, own.predict(PAIRS[:2]))
    with pytest.warns(DeprecationWarning, match="activation_fct of predict"):
        scores = own.predict(PAIRS[:2], activation_fct=torch.nn.Identity())
    np.testing.assert_array_equal(scores, own.predict(PAIRS[:2], activation_fn="identity"))
    with pytest.warns(DeprecationWarning, match="num_workers of predict"):
        own.predict(PAIRS[:2], num_workers=0)
    for name in ("num_workers", "apply_softmax", "convert_to_numpy", "convert_to_tensor"):
        with pytest.warns(DeprecationWarning, match=f"{name} of rank"):
            own.rank(QUERY, ["x"], **{name: 1})


def test_wrong_calls_raise(one_label: tuple[CrossEncoder, ZenReranker]) -> None:
    own = one_label[1]
    for call, error, message in (
        (lambda: own.predict(), InvalidTypeError, "inputs is a NoneType"),
        (lambda: own.predict("text"), InvalidTypeError, "inputs is a str"),
        (lambda: own.predict([("q", "d"), ("q",)]), InvalidTypeError, r"inputs\[1\] is \('q',\)"),
        (lambda: own.predict([("q", "d"), "qd"]), InvalidTypeError, r"inputs\[1\] is 'qd'"),
        (lambda: own.predict(["q", "d", "e"]), InvalidTypeError, "inputs is"),
        (lambda: own.predict([("q", None)]), InvalidTypeError, r"inputs\[0\]\[1\] is None"),
        (lambda: own.predict([(None, "d")]), InvalidTypeError, r"inputs\[0\]\[0\] is None"),
        (lambda: own.predict(PAIRS, batch_size=0), InvalidArgumentError, "batch_size=0"),
        (lambda: own.predict(PAIRS, batch_size="3"), InvalidTypeError, "batch_size is a str"),
        (lambda: own.predict(PAIRS, batch_size=None), InvalidTypeError, "batch_size is a NoneType"),
        (lambda: own.predict(PAIRS, device="cuda"), UnsupportedDeviceError, "device='cuda'"),
        (lambda: own.predict(PAIRS, prompt=5), InvalidTypeError, "prompt is an int"),
        (lambda: own.predict(PAIRS, prompt_name=["a"]), InvalidTypeError, "prompt_name is a list"),
        (lambda: own.rank(QUERY, ["d"], top_k="2"), InvalidTypeError, "top_k is a str"),
        (lambda: own.rank(QUERY, ["d"], top_k=-1), InvalidArgumentError, "top_k=-1"),
        (lambda: own.predict(PAIRS, pool={}), InvalidArgumentError, "pool is not supported"),
        (lambda: own.predict(PAIRS, prompt_name="x"), InvalidArgumentError, "prompts are none"),
        (lambda: own.predict(PAIRS, activation_fn=3), InvalidTypeError, "activation_fn is a int"),
        (lambda: own.predict(PAIRS, batchsize=3), TypeError, "batchsize"),  # type: ignore[call-arg]
        (lambda: own.rank(None, ["d"]), InvalidTypeError, "query is None"),  # type: ignore[arg-type]
        (lambda: own.rank(QUERY, "d"), InvalidTypeError, "documents is a str"),
        (lambda: own.rank(QUERY, ["d", None]), InvalidTypeError, r"documents\[1\] is None"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    "function",
    [torch.sigmoid, lambda x: torch.sigmoid(x / 2), lambda x: x.sigmoid(), torch.nn.Softsign()],
    ids=["torch.sigmoid", "of a tensor", "method", "module"],
)
def test_activation_function_of_tensors_equals_stock(
    one_label: tuple[CrossEncoder, ZenReranker], function: Any
) -> None:
    stock, own = one_label
    expected = stock.predict(PAIRS, activation_fn=function)
    np.testing.assert_allclose(own.predict(PAIRS, activation_fn=function), expected, atol=1e-5)


def test_device_may_be_named_where_it_is_the_rerankers(
    one_label: tuple[CrossEncoder, ZenReranker],
) -> None:
    own = one_label[1]
    for device in (None, "cpu", torch.device("cpu")):
        own.predict(PAIRS, device=device)  # type: ignore[arg-type]
    assert device_names(["cuda"]) == {"cuda", "cuda:0"}
    assert device_names(["cuda:1", "cuda:2"]) == {"cuda", "cuda:1", "cuda:2"}
    assert device_names(["auto"]) == device_names(["cpu"]) == {"cpu"}


def test_tensors_without_torch_raise_before_anything_is_scored(
    one_label: tuple[CrossEncoder, ZenReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = one_label[1]
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(own._engine, "scores", None)
    for options in ({"convert_to_tensor": True}, {"convert_to_numpy": False}):
        with pytest.raises(MissingDependencyError, match="pip install torch"):
            own.predict(PAIRS, **options)


def test_saved_prompts_equal_stock(tmp_path: Path) -> None:
    plain = save_reranker(tmp_path / "plain")
    stock = CrossEncoder(
        str(plain), device="cpu", prompts={"web": "search: "}, default_prompt_name="web"
    )
    stock.save_pretrained(str(tmp_path / "saved"))
    stock = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    own = ZenReranker.from_pretrained(tmp_path / "saved")
    expected = stock.predict(PAIRS[:9])
    assert_equal(own.predict(PAIRS[:9]), expected)
    assert_equal(own.predict(PAIRS[:9], prompt_name="web"), expected)
    assert_equal(own.predict(PAIRS[:9], prompt=""), stock.predict(PAIRS[:9], prompt=""))
    assert_equal(own.score(QUERY, [document for _, document in PAIRS[:9]]), expected)
    best = own.rank(QUERY, list(SENTENCES))[0]["corpus_id"]
    assert own.rerank(QUERY, SENTENCES)[0].index == best
    assert own.batch_rerank([QUERY], [SENTENCES])[0][0].index == best


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "config_sentence_transformers.json",
            {"model_type": "CrossEncoder", "prompts": {"web": "w: "}, "default_prompt_name": "x"},
            "default_prompt_name='x'; its prompts are 'web'",
        ),
        ("modules.json", {"0": "Transformer"}, "holds no JSON list of objects"),
        ("sentence_bert_config.json", [], "holds no JSON object"),
    ],
)
def test_malformed_settings_raise(name: str, content: Any, message: str, tmp_path: Path) -> None:
    plain = save_reranker(tmp_path / "plain")
    CrossEncoder(str(plain), device="cpu").save_pretrained(str(tmp_path / "saved"))
    (tmp_path / "saved" / name).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=message):
        ZenReranker.from_pretrained(tmp_path / "saved")


def test_saved_modules_beyond_the_transformer_raise(tmp_path: Path) -> None:
    plain = save_reranker(tmp_path / "plain")
    CrossEncoder(str(plain), device="cpu").save_pretrained(str(tmp_path / "saved"))
    path = tmp_path / "saved" / "modules.json"
    dense = '{"idx": 1, "name": "1", "path": "1_Dense", "type": "sentence_transformers.Dense"}'
    path.write_text(path.read_text().rstrip().removesuffix("]") + f", {dense}]")
    with pytest.raises(UnsupportedModelError, match="Transformer, Dense"):
        ZenReranker.from_pretrained(tmp_path / "saved")
