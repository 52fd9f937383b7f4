"""Logits of every backend against stock transformers, on random models of odd shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import random_models  # noqa: E402
from random_models import RANDOM_MODELS, RandomModel  # noqa: E402
from tolerances import (  # noqa: E402
    BATCH_PER_SPREAD,
    INT8_PER_SPREAD,
    INT8_ROUNDING_FLIP_PER_SPREAD,
    PARITY_PER_SPREAD,
)
from transformers import AutoModelForSequenceClassification  # noqa: E402

from zen_fast.backends import Backend, PausingBackend  # noqa: E402
from zen_fast.backends.reference import ReferenceBackend  # noqa: E402
from zen_fast.batching import TokenizedPair, pack  # noqa: E402
from zen_fast.checkpoint import load_checkpoint  # noqa: E402
from zen_fast.encoder import Encoder  # noqa: E402
from zen_fast.quantization import quantize_weights  # noqa: E402

PRETRAINED_BODY = Path(__file__).parents[2] / "shared" / "models" / "all-MiniLM-L6-v2"
LENGTHS = [1, 2, 3, 17, 64, 1, 5, 33]
ALL = range(len(LENGTHS) + 1)
"""Every pair of an oracle: one of each of these lengths, and one of the greatest."""


def _backend_names() -> list[str]:
    try:
        from zen_fast.backends.cpu import available_isas
    except ImportError:
        return ["reference", "cpu"]
    return ["reference", *(f"cpu-{isa}" for isa in available_isas())]


@dataclass(frozen=True)
class Oracle:
    """One random model with inputs and the stock model's answers."""

    encoder: Encoder
    pairs: list[TokenizedPair]
    logits: np.ndarray
    """(num_pairs, num_labels) fp32"""
    spread: np.ndarray
    """(num_labels,) standard deviation of the logits"""


@pytest.fixture(scope="module", autouse=True)
def _single_torch_thread() -> Iterator[None]:
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="module", params=RANDOM_MODELS, ids=lambda recipe: recipe.name)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return make_oracle(request.param, tmp_path_factory.mktemp(request.param.name))


def make_oracle(recipe: RandomModel, folder: Path) -> Oracle:
    model = recipe.build()
    recipe.save(model, folder)
    return oracle_of(model, folder)


def oracle_of(model: Any, folder: Path) -> Oracle:
    """The stock model's answers beside the encoder loaded from what it saved in `folder`."""
    checkpoint = load_checkpoint(folder)
    spec = checkpoint.spec
    sequences = random_models.random_sequences(
        [*LENGTHS, spec.max_length], spec.num_token_types, spec.vocab_size
    )
    logits = random_models.stock_logits(model, sequences)
    return Oracle(
        encoder=Encoder(spec, checkpoint.weights),
        pairs=[TokenizedPair(s.token_ids, s.token_type_ids) for s in sequences],
        logits=logits,
        spread=logits.std(axis=0),
    )


@pytest.fixture(scope="module")
def pretrained_oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    """Real weights in fp16 under a random head; the stock model computes in fp32."""
    if not PRETRAINED_BODY.is_dir():
        pytest.skip(f"{PRETRAINED_BODY.name} is not in ../shared/models")
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(
        PRETRAINED_BODY, num_labels=1, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    torch.nn.init.normal_(model.classifier.weight)
    folder = tmp_path_factory.mktemp("pretrained")
    model.half().save_pretrained(folder)
    return oracle_of(model.float(), folder)


@pytest.fixture(params=_backend_names())
def backend_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(backend_name: str, oracle: Oracle) -> Backend:
    return make_backend(backend_name, oracle.encoder)


def make_backend(name: str, encoder: Encoder) -> Backend:
    """Backend `name`: "reference", or "cpu-" with a kernel set."""
    if name == "reference":
        return ReferenceBackend(encoder)
    cpu = pytest.importorskip("zen_fast.backends.cpu", reason="the C++ extension is not built")
    backend: Backend = cpu.CpuBackend(encoder, num_threads=2, isa=name.removeprefix("cpu-"))
    return backend


def _run(backend: Backend, oracle: Oracle, order: Sequence[int]) -> np.ndarray:
    return backend.forward(pack([oracle.pairs[index] for index in order], oracle.encoder.spec))


def test_stock_logits_spread_enough_to_test_against(oracle: Oracle) -> None:
    assert (oracle.spread > 0.1).all()


def test_logits_equal_stock_when_alone(backend: Backend, oracle: Oracle) -> None:
    alone = np.concatenate([_run(backend, oracle, [index]) for index in range(len(oracle.pairs))])
    assert alone.dtype == np.float32
    assert (np.abs(alone - oracle.logits) <= PARITY_PER_SPREAD * oracle.spread).all()


def test_logits_equal_stock_when_batched_in_any_order(backend: Backend, oracle: Oracle) -> None:
    rng = np.random.default_rng(0)
    alone = np.concatenate([_run(backend, oracle, [index]) for index in range(len(oracle.pairs))])
    for _ in range(3):
        order = rng.permutation(len(oracle.pairs))
        batched = _run(backend, oracle, order)
        assert (np.abs(batched - oracle.logits[order]) <= PARITY_PER_SPREAD * oracle.spread).all()
        if backend.name == "cpu":
            np.testing.assert_array_equal(batched, alone[order])
        else:  # BLAS orders its sums by the shapes that it is given
            assert (np.abs(batched - alone[order]) <= BATCH_PER_SPREAD * oracle.spread).all()


def test_logits_are_the_same_when_paused_and_others_dropped(
    backend: Backend, oracle: Oracle
) -> None:
    assert isinstance(backend, PausingBackend)
    spec = oracle.encoder.spec
    kept = [index for index in range(len(oracle.pairs)) if index % 3]
    expected = _run(backend, oracle, kept)
    batch, kept_batch = (pack([oracle.pairs[i] for i in each], spec) for each in (ALL, kept))
    is_kept = np.repeat(np.isin(ALL, kept), np.diff(batch.cu_seqlens))
    for layer in range(1, spec.num_layers):
        states = backend.advance(batch, None, range(layer))
        assert states.shape == (batch.num_tokens, spec.hidden_size)
        resumed = backend.finish(kept_batch, states[is_kept], layer)
        if backend.name == "cpu":
            np.testing.assert_array_equal(resumed, expected)
        else:
            assert (np.abs(resumed - expected) <= BATCH_PER_SPREAD * oracle.spread).all()


@pytest.mark.parametrize("name", _backend_names()[1:])
def test_int8_logits_equal_those_of_the_reference(name: str, oracle: Oracle) -> None:
    quantized = Encoder(oracle.encoder.spec, quantize_weights(oracle.encoder.weights))
    logits, expected = (
        _run(make_backend(each, quantized), oracle, range(len(oracle.pairs)))
        for each in (name, "reference")
    )
    difference = np.abs(logits - expected) / oracle.spread
    # Where a value lies on the edge between two bytes, backends may round it apart.
    assert np.quantile(difference, 0.75) <= INT8_PER_SPREAD
    assert difference.max() <= INT8_ROUNDING_FLIP_PER_SPREAD


def test_logits_equal_stock_on_pretrained_weights(
    backend_name: str, pretrained_oracle: Oracle
) -> None:
    backend = make_backend(backend_name, pretrained_oracle.encoder)
    logits = _run(backend, pretrained_oracle, range(len(pretrained_oracle.pairs)))
    assert (
        np.abs(logits - pretrained_oracle.logits) <= PARITY_PER_SPREAD * pretrained_oracle.spread
    ).all()
