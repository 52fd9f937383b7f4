"""The Triton backend: batches laid out, and every architecture against stock transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from triton_device import DEVICE

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from random_encoder_decoders import RANDOM_ENCODER_DECODERS  # noqa: E402
from random_language_models import RANDOM_LANGUAGE_MODELS  # noqa: E402
from random_models import RANDOM_MODELS, RandomModel  # noqa: E402
from random_query_independent import QUERY_INDEPENDENT_BERT  # noqa: E402
from test_parity import Oracle, make_oracle  # noqa: E402
from tolerances import (  # noqa: E402
    FP8_PER_SPREAD,
    FP8_ROUNDING_FLIP_PER_SPREAD,
    FP8_TIMES_EMULATIONS_ERROR,
    INT8_PER_SPREAD,
    INT8_ROUNDING_FLIP_PER_SPREAD,
    PARITY_PER_SPREAD,
    TIMES_PYTORCHS_ERROR,
)

from zen_fast import kernels  # noqa: E402
from zen_fast.backends.device_batch import NOBODY, BatchSize, lay_out  # noqa: E402
from zen_fast.backends.linear_choices import LinearChoices, LinearShape  # noqa: E402
from zen_fast.backends.reference import ReferenceBackend, ReferenceOps  # noqa: E402
from zen_fast.backends.triton import TritonBackend  # noqa: E402
from zen_fast.backends.triton_ops import DTYPES  # noqa: E402
from zen_fast.batching import PackedBatch, Prefix, TokenizedPair, pack  # noqa: E402
from zen_fast.encoder import Encoder  # noqa: E402
from zen_fast.errors import OutOfDeviceMemoryError  # noqa: E402
from zen_fast.quantization import quantize_weights  # noqa: E402
from zen_fast.spec import Activation  # noqa: E402
from zen_fast.weights import Linear  # noqa: E402

SHORT = slice(0, 4)
"""The oracle's pairs of 1, 2, 3 and 17 tokens: under the interpreter every token counts."""


def _batch(lengths: list[int]) -> PackedBatch:
    num_tokens = sum(lengths)
    return PackedBatch(
        token_ids=np.arange(1, num_tokens + 1, dtype=np.int32),
        token_type_ids=np.ones(num_tokens, np.int32),
        position_ids=np.arange(num_tokens, dtype=np.int32) + 5,
        head_lengths=np.array([length // 3 for length in lengths], np.int32),
        cu_seqlens=np.cumsum([0, *lengths]).astype(np.int32),
    )


@pytest.mark.parametrize("lengths", [[1], [3, 1], [64, 65, 1], [1] * 64, [200, 7], [2] * 300])
def test_batch_size_holds_the_batch_and_little_more(lengths: list[int]) -> None:
    size = BatchSize.of(_batch(lengths), 64)
    for held, needed, step in (
        (size.num_tokens, sum(lengths), 64),
        (size.num_sequences, len(lengths), 16),
        (size.num_query_blocks, sum(-(-length // 64) for length in lengths), 8),
    ):
        assert needed <= held <= max(needed + step, needed * 9 / 8)
    assert size.num_tokens != size.num_sequences


def test_lay_out_marks_what_is_beyond_the_batch_as_nobodys() -> None:
    batch = _batch([70, 2])
    size = BatchSize.of(batch, 64)
    block = np.full(size.num_integers, 99, np.int32)
    lay_out(batch, size, 64, block)
    assert block[size.part("token")].tolist() == [*range(1, 73), *[0] * (size.num_tokens - 72)]
    assert block[size.part("head_lengths")].tolist() == [23] + [0] * (size.num_sequences - 1)
    assert block[size.part("place")][:72].tolist() == [*range(70), 0, 1]
    assert block[size.part("sequence_of_row")][68:74].tolist() == [0, 0, 1, 1, NOBODY, NOBODY]
    assert block[size.part("cu_seqlens")].tolist() == [0, 70] + [72] * (size.num_sequences - 1)
    blocks = block[size.part("query_blocks")].reshape(-1, 2).tolist()
    assert blocks[:4] == [[0, 0], [0, 64], [1, 0], [NOBODY, NOBODY]]
    first_rows = block[size.part("first_rows")].reshape(-1, 2).tolist()
    assert first_rows[:3] == [[0, 0], [1, 0], [NOBODY, NOBODY]]
    assert 99 not in block


@pytest.mark.parametrize("size", [BatchSize(64, 8, 16), BatchSize(64, 8, 16, 8, 128)])
def test_lay_out_parts_fill_the_block_without_overlap(size: BatchSize) -> None:
    names = ("token", "token_type", "position", "place", "sequence_of_row", "cu_seqlens")
    names += ("head_lengths", "query_blocks", "first_rows")
    if size.num_prefixes:
        names += ("prefix_of_sequence", "prefix_cu_seqlens")
    parts = [size.part(name) for name in names]
    assert parts[0].start == 0
    assert [part.stop for part in parts[:-1]] == [part.start for part in parts[1:]]
    assert parts[-1].stop == size.num_integers


# The norms of heads, and what Gemma 2 adds; the interpreter is too slow for more.
INTERPRETED = ("qwen3-windows-biased", "gemma2-yes-no-capped", "t5-tied")
LANGUAGE_MODELS, ENCODER_DECODERS = (
    [recipe for recipe in recipes if DEVICE == "cuda" or recipe.name in INTERPRETED]
    for recipes in (RANDOM_LANGUAGE_MODELS, RANDOM_ENCODER_DECODERS)
)


@pytest.fixture(
    scope="module",
    params=[*RANDOM_MODELS, *LANGUAGE_MODELS, *ENCODER_DECODERS, QUERY_INDEPENDENT_BERT],
    ids=lambda recipe: recipe.name,
)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    recipe: RandomModel = request.param
    return make_oracle(recipe, tmp_path_factory.mktemp(recipe.name))


def _recipe(name: str) -> RandomModel:
    (recipe,) = (recipe for recipe in RANDOM_MODELS if recipe.name == name)
    return recipe


def _pairs(oracle: Oracle) -> list[TokenizedPair]:
    return oracle.pairs if DEVICE == "cuda" else oracle.pairs[SHORT]


def test_logits_equal_stock(oracle: Oracle) -> None:
    pairs = _pairs(oracle)
    backend = TritonBackend(oracle.encoder, DEVICE, "fp32")
    expected = oracle.logits[: len(pairs)]
    for _ in range(2):  # the second pass finds its parameters made
        logits = backend.forward(pack(pairs, oracle.encoder.spec))
        assert logits.dtype == np.float32
        assert (np.abs(logits - expected) <= PARITY_PER_SPREAD * oracle.spread).all()


def _prefix(backend: TritonBackend, oracle: Oracle, pair: TokenizedPair, length: int) -> Prefix:
    head = pair.part(slice(length))
    (rows,) = backend.keys_values(pack([head], oracle.encoder.spec))
    assert rows.shape == (length, oracle.encoder.spec.floats_kept_per_token)
    return Prefix(head.token_ids, rows)


@pytest.mark.parametrize(
    "recipe",
    [*(each for each in LANGUAGE_MODELS if each.name != "t5-tied"), QUERY_INDEPENDENT_BERT],
    ids=lambda recipe: recipe.name,
)
def test_logits_equal_stock_when_prefixes_are_shared(recipe: RandomModel, tmp_path: Path) -> None:
    oracle = make_oracle(recipe, tmp_path)
    backend = TritonBackend(oracle.encoder, DEVICE, "fp32")
    first, second = oracle.pairs[3], oracle.pairs[2]  # 17 and 3 tokens
    prefixes = [
        _prefix(backend, oracle, first, first.num_head_tokens),
        None,
        _prefix(backend, oracle, second, second.num_head_tokens),
    ]
    order = [3, 1, 2]
    batch = pack([oracle.pairs[index] for index in order], oracle.encoder.spec, prefixes)
    assert batch.num_tokens == 17 - 5 + 2 + 3 - 1
    logits = backend.forward(batch)
    assert (np.abs(logits - oracle.logits[order]) <= PARITY_PER_SPREAD * oracle.spread).all()


def test_int8_logits_equal_those_of_the_reference(oracle: Oracle) -> None:
    pairs = _pairs(oracle)
    spec = oracle.encoder.spec
    # A GPU's attention is in its own kind of numbers.
    quantized = Encoder(
        spec, quantize_weights(oracle.encoder.weights, spec), rounded_attention=False
    )
    batch = pack(pairs, spec)
    logits = TritonBackend(quantized, DEVICE, "fp32").forward(batch)
    difference = np.abs(logits - ReferenceBackend(quantized).forward(batch)) / oracle.spread
    # Where a value lies on the edge between two bytes, backends may round it apart.
    assert np.median(difference) <= INT8_PER_SPREAD
    assert difference.max() <= INT8_ROUNDING_FLIP_PER_SPREAD


class EverywhereVendor(LinearChoices):
    """As if the vendor's product had measured faster everywhere."""

    def prefers_vendor(self, shape: LinearShape, rows: int) -> bool:
        return True


@pytest.mark.parametrize("name", ["bert", "modernbert"])
def test_logits_with_the_vendors_products_equal_stock(name: str, tmp_path: Path) -> None:
    oracle = make_oracle(_recipe(name), tmp_path)
    pairs = _pairs(oracle)
    backend = TritonBackend(oracle.encoder, DEVICE, "fp32", EverywhereVendor())
    logits = backend.forward(pack(pairs, oracle.encoder.spec))
    expected = oracle.logits[: len(pairs)]
    assert (np.abs(logits - expected) <= PARITY_PER_SPREAD * oracle.spread).all()


class Forgetful(Encoder):
    """An encoder that finds no memory when it is first run."""

    def logits(self, ops: Any) -> Any:
        if not hasattr(self, "_ran"):
            self._ran = True
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().logits(ops)


def test_out_of_memory_is_a_typed_error_that_the_backend_survives(tmp_path: Path) -> None:
    oracle = make_oracle(RANDOM_MODELS[0], tmp_path)
    pairs = _pairs(oracle)
    encoder = Forgetful(oracle.encoder.spec, oracle.encoder.weights)
    backend = TritonBackend(encoder, DEVICE, "fp32")
    batch = pack(pairs, encoder.spec)
    with pytest.raises(OutOfDeviceMemoryError, match=f"{batch.num_tokens} tokens does not fit"):
        backend.forward(batch)
    logits = backend.forward(batch)
    assert (np.abs(logits - oracle.logits[: len(pairs)]) <= PARITY_PER_SPREAD * oracle.spread).all()


def test_graphs_are_bounded_and_the_longest_unused_goes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zen_fast.backends.triton.MAX_GRAPHS", 2)
    oracle = make_oracle(RANDOM_MODELS[0], tmp_path)
    backend = TritonBackend(oracle.encoder, DEVICE, "fp32")
    batches = [pack(oracle.pairs[:1] * count, oracle.encoder.spec) for count in (1, 9, 17)]
    sizes = [BatchSize.of(batch, 64) for batch in batches]
    for index in (0, 1, 0, 2):
        backend.forward(batches[index])
    assert list(backend._graphs) == [(sizes[0], "logits"), (sizes[2], "logits")]


class Float8Ops(ReferenceOps):
    """The reference with projections in fp8, as PyTorch rounds to it."""

    def linear(
        self,
        x: torch.Tensor,
        layer: Linear,
        activation: Activation | None = None,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        if layer.is_projection:
            x = _through_float8(x)
            weight = _through_float8(torch.from_numpy(layer.fp32_weight()))
            layer = replace(layer, weight=weight.numpy())
        return super().linear(x, layer, activation, residual)


def _through_float8(x: torch.Tensor) -> torch.Tensor:
    step = x.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / 448
    return (x / step).clamp(-448, 448).to(torch.float8_e4m3fn).float() * step


@pytest.mark.parametrize("name", ["bert", "modernbert", "deberta-v3"])
def test_fp8_logits_equal_those_of_the_reference(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = make_oracle(_recipe(name), tmp_path)
    # In fp32 between the products, or fp16 would round whole bytes apart.
    monkeypatch.setitem(DTYPES, "fp8", torch.float32)
    batch = pack(_pairs(oracle), oracle.encoder.spec)
    logits = TritonBackend(oracle.encoder, DEVICE, "fp8").forward(batch)
    with torch.inference_mode():
        expected = oracle.encoder.logits(Float8Ops(batch)).numpy()
    if DEVICE == "cuda":
        # Its sums have 14 bits, by which bytes are rounded apart: as good, if not the same.
        stock = oracle.logits[: len(logits)]
        error, unavoidable = (
            np.sqrt(np.square(each - stock).mean()) for each in (logits, expected)
        )
        assert error <= FP8_TIMES_EMULATIONS_ERROR * unavoidable
    else:
        difference = np.abs(logits - expected) / oracle.spread
        assert np.median(difference) <= FP8_PER_SPREAD
        assert difference.max() <= FP8_ROUNDING_FLIP_PER_SPREAD
    # It is another arithmetic than fp32's, and not a wrong one.
    assert 1e-4 < np.abs(logits - oracle.logits[: len(logits)]).max() / oracle.spread.max() < 1.0


HALVES = {"fp16": torch.float16, "bf16": torch.bfloat16}
FAMILIES = ("bert", "roberta", "electra", "distilbert", "modernbert", "deberta-v3", "gte")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precision", HALVES if DEVICE == "cuda" else ["fp16"])
def test_error_in_16_bits_is_no_more_than_three_times_that_of_pytorch(
    name: str, precision: str, tmp_path: Path
) -> None:
    recipe = _recipe(name)
    oracle = make_oracle(recipe, tmp_path)
    pairs = _pairs(oracle)
    stock = recipe.build().to(DEVICE, HALVES[precision])
    theirs = []
    for pair in pairs:
        ids, types = (
            torch.from_numpy(each)[None].long().to(DEVICE)
            for each in (pair.token_ids, pair.token_type_ids)
        )
        named = {"token_type_ids": types} if oracle.encoder.spec.num_token_types else {}
        mask = torch.ones_like(ids)
        with torch.inference_mode():
            logits = stock(input_ids=ids, attention_mask=mask, **named).logits[0]
        theirs.append(logits.float().cpu().numpy())
    backend = TritonBackend(oracle.encoder, DEVICE, precision)
    ours = backend.forward(pack(pairs, oracle.encoder.spec))
    errors = [
        np.sqrt(np.square(logits - oracle.logits[: len(pairs)]).mean())
        for logits in (ours, np.stack(theirs))
    ]
    assert errors[0] <= TIMES_PYTORCHS_ERROR * errors[1]


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_norms_emit_what_projections_read(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle = make_oracle(_recipe("bert"), tmp_path)
    spec, weights = oracle.encoder.spec, oracle.encoder.weights
    encoder = Encoder(spec, quantize_weights(weights, spec) if precision == "int8" else weights)
    name = {"int8": "quantize_rows", "fp8": "float8_rows"}[precision]
    quantize, widths = getattr(kernels, name), []

    def counted(x: torch.Tensor, *arguments: Any) -> Any:
        widths.append(x.shape[1])
        return quantize(x, *arguments)

    monkeypatch.setattr(kernels, name, counted)
    TritonBackend(encoder, DEVICE, precision).forward(pack(_pairs(oracle), encoder.spec))
    hidden, ffn = spec.hidden_size, spec.intermediate_size
    # Attention's context and the FFN's inner rows; of the last layer also the query's first rows,
    # but in int8 not the inner ones, whose projection stays as it is.
    last = [hidden, hidden] if precision == "int8" else [hidden, hidden, ffn]
    passes = 1 if DEVICE == "cpu" else 2
    assert widths == passes * [*([hidden, ffn] * (spec.num_layers - 1)), *last]
