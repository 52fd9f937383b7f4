from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_rerankers import save_reranker

from zen_fast import InvalidArgumentError, InvalidTypeError, UnsupportedModelError, ZenReranker
from zen_fast.activation import ACTIVATIONS, activation_from, default_activation

LOGITS = np.array([[0.0], [-0.5], [3.25], [88.0], [-200.0], [1000.0], [-1000.0]], dtype=np.float32)


@pytest.mark.parametrize("name", ["Identity", "Sigmoid", "Tanh", "ReLU"])
def test_activation_equals_torch(name: str) -> None:
    expected = getattr(torch.nn, name)()(torch.from_numpy(LOGITS)).numpy()
    with np.errstate(all="raise", under="ignore"):
        scores = activation_from(name)(LOGITS)
    np.testing.assert_allclose(scores, expected, rtol=1e-6)
    assert scores.dtype == np.float32


def test_softmax_equals_torch() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (7, 5)).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
    np.testing.assert_allclose(activation_from("softmax")(logits), expected, rtol=1e-5)
    assert activation_from("softmax")(logits[:0]).shape == (0, 5)


@pytest.mark.parametrize(
    "value",
    [
        "sigmoid",
        "Sigmoid",
        "torch.nn.Sigmoid",
        "torch.nn.modules.activation.Sigmoid",
        torch.nn.Sigmoid,
        torch.nn.Sigmoid(),
        ACTIVATIONS["sigmoid"],
    ],
)
def test_activation_from_every_way_to_say_sigmoid(value: object) -> None:
    assert activation_from(value) is ACTIVATIONS["sigmoid"]


def test_activation_from_function_over_numpy() -> None:
    activation = activation_from(lambda logits: -logits)
    np.testing.assert_array_equal(activation(LOGITS), -LOGITS)
    assert not activation.keeps_order


def test_activation_from_unknown_torch_module_runs_it() -> None:
    module = torch.nn.LeakyReLU(0.3)
    expected = module(torch.from_numpy(LOGITS)).numpy()
    np.testing.assert_array_equal(activation_from(module)(LOGITS), expected)


def test_activation_from_softmax_keeps_its_dimension() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (7, 5)).astype(np.float32)
    for dim in (None, 1, -1):
        assert activation_from(torch.nn.Softmax(dim)) is ACTIVATIONS["softmax"]
    assert activation_from(torch.nn.Softmax) is ACTIVATIONS["softmax"]
    expected = torch.softmax(torch.from_numpy(logits), dim=0).numpy()
    np.testing.assert_array_equal(activation_from(torch.nn.Softmax(dim=0))(logits), expected)


def test_activation_that_changes_the_shape_raises() -> None:
    with pytest.raises(InvalidArgumentError, match="shape"):
        activation_from(lambda logits: logits.sum(axis=1))(LOGITS)


def test_activation_from_unknown_name_raises() -> None:
    with pytest.raises(InvalidArgumentError, match=r"activation='sigmod'.*identity, sigmoid"):
        activation_from("sigmod")
    with pytest.raises(InvalidTypeError, match="activation_fn is a int"):
        activation_from(3, "activation_fn")


@pytest.mark.parametrize(
    ("model_path", "config", "num_labels", "expected"),
    [
        (None, {}, 1, "sigmoid"),
        (None, {}, 3, "identity"),
        (None, {"sbert_ce_default_activation_function": "torch.nn.Tanh"}, 1, "tanh"),
        (None, {"sbert_ce_default_activation_function": None}, 1, "sigmoid"),
        (None, {"sentence_transformers": {"activation_fn": "torch.nn.ReLU"}}, 1, "relu"),
        (None, {"sentence_transformers": {"version": "5"}}, 1, "sigmoid"),
        (
            None,
            {
                "sentence_transformers": {"activation_fn": None},
                "sbert_ce_default_activation_function": "torch.nn.Tanh",
            },
            1,
            "sigmoid",
        ),
        (
            None,
            {
                "sentence_transformers": {"activation_fn": "torch.nn.ReLU"},
                "sbert_ce_default_activation_function": "torch.nn.Tanh",
            },
            1,
            "relu",
        ),
        ("torch.nn.modules.linear.Identity", {}, 1, "identity"),
        ("my_code.Act", {"sbert_ce_default_activation_function": "torch.nn.Tanh"}, 1, "tanh"),
    ],
)
def test_default_activation_follows_sentence_transformers(
    model_path: str | None, config: dict[str, Any], num_labels: int, expected: str
) -> None:
    chosen = default_activation("a model", model_path, config, num_labels)
    assert chosen is ACTIVATIONS[expected]


def test_default_activation_path_outside_torch_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        default_activation("a model", "my_code.Act", {}, 1)
    assert "my_code.Act" in caplog.text


def test_default_activation_unknown_torch_path_raises() -> None:
    with pytest.raises(UnsupportedModelError, match=r"torch\.nn\.Mish.*pass activation="):
        default_activation("a model", "torch.nn.Mish", {}, 1)


@pytest.mark.parametrize(
    ("num_labels", "entries"),
    [
        (1, {}),
        (2, {}),
        (1, {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}),
        (1, {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}),
        (
            1,
            {
                "sentence_transformers": {"activation_fn": None},
                "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
            },
        ),
        (1, {"sentence_transformers": {"activation_fn": "my_code.Act"}}),
    ],
)
def test_from_pretrained_chooses_the_activation_of_cross_encoder(
    tmp_path: Path, num_labels: int, entries: dict[str, Any]
) -> None:
    from sentence_transformers import CrossEncoder

    folder = str(save_reranker(tmp_path / "plain", num_labels=num_labels, **entries))
    stock = CrossEncoder(folder, device="cpu")
    name = type(stock.activation_fn).__name__
    assert ZenReranker.from_pretrained(folder).activation.name == name

    stock.activation_fn = torch.nn.Tanh()
    stock.save_pretrained(str(tmp_path / "saved"))
    assert ZenReranker.from_pretrained(tmp_path / "saved").activation.name == "Tanh"
    assert CrossEncoder(str(tmp_path / "saved"), device="cpu").activation_fn.__class__ is (
        torch.nn.Tanh
    )


def test_from_pretrained_explicit_activation_wins(tmp_path: Path) -> None:
    save_reranker(tmp_path, sbert_ce_default_activation_function="torch.nn.Tanh")
    assert ZenReranker.from_pretrained(tmp_path, activation="relu").activation.name == "ReLU"
