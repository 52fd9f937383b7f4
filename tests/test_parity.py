"""Logits of every backend against stock transformers, on random models of odd shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

import random_models  # noqa: E402
from random_encoder_decoders import RANDOM_ENCODER_DECODERS  # noqa: E402
from random_language_models import RANDOM_LANGUAGE_MODELS  # noqa: E402
from random_models import RANDOM_MODELS, RandomModel  # noqa: E402
from random_query_independent import QUERY_INDEPENDENT_BERT  # noqa: E402
from tolerances import (  # noqa: E402
    BATCH_PER_SPREAD,
    INT8_PER_SPREAD,
    INT8_ROUNDING_FLIP_PER_SPREAD,
    PARITY_PER_SPREAD,
    ROUNDED_ATTENTION_PER_SPREAD,
)
from transformers import AutoModelForSequenceClassification  # noqa: E402

from zen_fast.backends import Backend, PausingBackend, PrefixingBackend  # noqa: E402
from zen_fast.backends.reference import ReferenceBackend  # noqa: E402
from zen_fast.batching import Prefix, TokenizedPair, pack, read_part  # noqa: E402
from zen_fast.checkpoint import Checkpoint, load_checkpoint  # noqa: E402
from zen_fast.encoder import Encoder  # noqa: E402
from zen_fast.quantization import quantize_weights  # noqa: E402

PRETRAINED_BODY = Path(__file__).parents[2] / "shared" / "models" / "all-MiniLM-L6-v2"
StockLogits = Callable[[list[random_models.Sequence]], np.ndarray]
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


@pytest.fixture(
    scope="module",
    params=(
        *RANDOM_MODELS,
        *RANDOM_LANGUAGE_MODELS,
        *RANDOM_ENCODER_DECODERS,
        QUERY_INDEPENDENT_BERT,
    ),
    ids=lambda recipe: recipe.name,
)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return make_oracle(request.param, tmp_path_factory.mktemp(request.param.name))


def make_oracle(recipe: RandomModel, folder: Path) -> Oracle:
    model = recipe.build()
    recipe.save(model, folder)
    return oracle_of(recipe.load(folder), lambda sequences: recipe.logits(model, sequences))


def oracle_of(checkpoint: Checkpoint, stock_logits: StockLogits) -> Oracle:
    """The stock model's answers beside the encoder loaded from what it saved."""
    spec = checkpoint.spec
    sequences = random_models.random_sequences(
        [*LENGTHS, spec.max_length], spec.num_token_types, spec.vocab_size
    )
    logits = stock_logits(sequences)
    return Oracle(
        encoder=Encoder(spec, checkpoint.weights),
        pairs=[
            read_part(TokenizedPair(s.token_ids, s.token_type_ids, s.num_head_tokens), spec)
            for s in sequences
        ],
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
    model = model.float()
    return oracle_of(
        load_checkpoint(folder), lambda sequences: random_models.stock_logits(model, sequences)
    )


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


@pytest.fixture(scope="module", params=RANDOM_LANGUAGE_MODELS, ids=lambda recipe: recipe.name)
def causal_oracle(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Oracle:
    return make_oracle(request.param, tmp_path_factory.mktemp(request.param.name))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_logits_do_not_change_when_prefixes_are_shared(
    precision: str, backend_name: str, causal_oracle: Oracle
) -> None:
    """A batch of two prefixes, one of them longer than what follows, beside one of length 0, 1."""
    spec, weights = causal_oracle.encoder.spec, causal_oracle.encoder.weights
    encoder = Encoder(spec, weights if precision == "fp32" else quantize_weights(weights, spec))
    backend = make_backend(backend_name, encoder)
    assert isinstance(backend, PrefixingBackend)
    longest = causal_oracle.pairs[-1]  # as long as the model allows
    others = [pair for pair in causal_oracle.pairs if len(pair) >= 17]

    prefix = _prefix(backend, encoder, longest.part(slice(60)), None)
    nested = _prefix(backend, encoder, longest.part(slice(70)), prefix.part(33))
    single = _prefix(backend, encoder, others[0].part(slice(1)), None)
    pairs = [longest, *others, longest.part(slice(61)), longest.part(slice(75))]
    prefixes = [prefix, single, *[None] * (len(others) - 1), prefix, nested]
    whole = backend.forward(pack(pairs, spec))
    shared = backend.forward(pack(pairs, spec, prefixes))
    _assert_unchanged(shared, whole, causal_oracle.spread, backend, precision)


def _assert_unchanged(
    shared: np.ndarray, whole: np.ndarray, spread: np.ndarray, backend: Backend, precision: str
) -> None:
    if backend.name == "cpu":
        np.testing.assert_array_equal(shared, whole)
    elif precision == "fp32":
        assert (np.abs(shared - whole) <= BATCH_PER_SPREAD * spread).all()
    else:  # where a sum lies on the edge between two bytes
        difference = np.abs(shared - whole) / spread
        assert np.quantile(difference, 0.75) <= INT8_PER_SPREAD
        assert difference.max() <= INT8_ROUNDING_FLIP_PER_SPREAD


def _prefix(
    backend: PrefixingBackend, encoder: Encoder, tokens: TokenizedPair, known: Prefix | None
) -> Prefix:
    fresh = backend.keys_values(pack([tokens], encoder.spec, [known]))[0]
    rows = fresh if known is None else np.concatenate((known.keys_values, fresh))
    return Prefix(tokens.token_ids, rows)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_logits_do_not_change_when_heads_are_shared(
    precision: str, backend_name: str, tmp_path: Path
) -> None:
    oracle = make_oracle(QUERY_INDEPENDENT_BERT, tmp_path)
    spec, weights = oracle.encoder.spec, oracle.encoder.weights
    encoder = Encoder(spec, weights if precision == "fp32" else quantize_weights(weights, spec))
    backend = make_backend(backend_name, encoder)
    assert isinstance(backend, PrefixingBackend)
    heads = [
        _prefix(backend, encoder, pair.part(slice(pair.num_head_tokens)), None)
        if pair.num_head_tokens
        else None
        for pair in oracle.pairs
    ]
    heads[4] = None  # one that is read with its document
    whole = backend.forward(pack(oracle.pairs, spec))
    shared = backend.forward(pack(oracle.pairs, spec, heads))
    _assert_unchanged(shared, whole, oracle.spread, backend, precision)


@pytest.mark.parametrize("name", _backend_names()[1:])
def test_int8_logits_equal_those_of_the_reference(name: str, oracle: Oracle) -> None:
    spec, weights = oracle.encoder.spec, oracle.encoder.weights
    quantized = quantize_weights(weights, spec)
    plain = _difference(name, Encoder(spec, quantized, rounded_attention=False), oracle)
    # Where a value lies on the edge between two bytes, backends may round it apart. Where attention
    # is rounded, too, most logits have such a value.
    assert np.quantile(plain, 0.75) <= INT8_PER_SPREAD
    assert plain.max() <= INT8_ROUNDING_FLIP_PER_SPREAD
    assert _difference(name, Encoder(spec, quantized), oracle).max() <= (
        INT8_ROUNDING_FLIP_PER_SPREAD
    )


@pytest.mark.parametrize("name", _backend_names()[1:])
def test_rounded_attention_equals_that_of_the_reference(name: str, oracle: Oracle) -> None:
    spec, weights = oracle.encoder.spec, oracle.encoder.weights
    rounded = Encoder(spec, weights, rounded_attention=True)
    assert _difference(name, rounded, oracle).max() <= ROUNDED_ATTENTION_PER_SPREAD


def _difference(name: str, encoder: Encoder, oracle: Oracle) -> NDArray[np.float32]:
    """Between the logits of a backend and of the reference, over their spread."""
    logits, expected = (
        _run(make_backend(each, encoder), oracle, range(len(oracle.pairs)))
        for each in (name, "reference")
    )
    difference: NDArray[np.float32] = np.abs(logits - expected) / oracle.spread
    return difference


def test_logits_equal_stock_on_pretrained_weights(
    backend_name: str, pretrained_oracle: Oracle
) -> None:
    backend = make_backend(backend_name, pretrained_oracle.encoder)
    logits = _run(backend, pretrained_oracle, range(len(pretrained_oracle.pairs)))
    assert (
        np.abs(logits - pretrained_oracle.logits) <= PARITY_PER_SPREAD * pretrained_oracle.spread
    ).all()
