"""INT8: the scheme, its checkpoints, and how near its scores stay to fp32's."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zen_fast import ZenReranker
from zen_fast.checkpoint import Checkpoint, load_checkpoint
from zen_fast.errors import (
    CheckpointError,
    UnsupportedDeviceError,
    UnsupportedModelError,
)
from zen_fast.quantization import (
    MAX_QUANTIZED,
    at_precision,
    quantize_matrix,
    quantize_weights,
)
from zen_fast.quantize import main
from zen_fast.spec import EncoderSpec, Pooling
from zen_fast.weights import QuantizedMatrix, Weights, is_quantizable

QUERY = "Why does bread rise?"
DOCUMENTS = [
    "Yeast eats sugar and gives off carbon dioxide, whose bubbles lift the dough.",
    "The museum opens at nine and closes at five.",
    "Dough that is kneaded forms gluten, which holds the gas inside.",
    "",
    "Bread was on the table. " * 60,
]


LAST_DOWN = "layers.4.ffn.down"


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint("zen-mini")


@pytest.fixture(scope="module")
def weights(checkpoint: Checkpoint) -> Weights:
    return checkpoint.weights


@pytest.fixture(scope="module")
def spec(checkpoint: Checkpoint) -> EncoderSpec:
    return checkpoint.spec


@pytest.fixture(scope="module")
def int8_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized") / "zen-mini-int8"
    assert main(["zen-mini", str(folder)]) == 0
    return folder


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1e-45, 1e-38, 1e-36])
def test_rows_too_small_for_a_scale_are_zeros(size: float) -> None:
    weight = np.array([[size, -size, 0.0], [0.25, -1.0, 0.0]], dtype=np.float32)
    for moments in (None, np.eye(3)):
        matrix = quantize_matrix(weight, moments=moments)
        assert matrix.scales[0] == 0
        assert not matrix.values[0].any()
        np.testing.assert_array_equal(matrix.values[1], [16, -63, 0])


def test_quantize_matrix_moves_no_value_by_more_than_half_a_step() -> None:
    weight = np.random.default_rng(0).normal(size=(9, 31)).astype(np.float32)
    weight[3] = 0.0
    weight[4, 7] = 50.0
    matrix = quantize_matrix(weight)
    assert np.abs(matrix.values).max() == MAX_QUANTIZED
    assert not matrix.values[3].any()
    error = np.abs(matrix.fp32() - weight)
    assert (error <= 0.5001 * matrix.scales[:, None]).all()


def test_int8_scores_do_not_depend_on_neighbours() -> None:
    reranker = ZenReranker.from_pretrained(precision="int8")
    together = reranker.score(QUERY, DOCUMENTS)
    alone = [reranker.score(QUERY, [document])[0] for document in DOCUMENTS]
    backwards = reranker.score(QUERY, DOCUMENTS[::-1])[::-1]
    assert together.tolist() == alone == backwards.tolist()


@pytest.mark.parametrize("num_threads", [1, 3])
def test_int8_scores_do_not_depend_on_threads(num_threads: int) -> None:
    one, many = (
        ZenReranker.from_pretrained(precision="int8", num_threads=threads).score(QUERY, DOCUMENTS)
        for threads in (2, num_threads)
    )
    assert one.tolist() == many.tolist()


def test_int8_checkpoint_gives_the_scores_of_int8_at_load(int8_folder: Path) -> None:
    at_load = ZenReranker.from_pretrained("zen-mini", precision="int8", activation="identity")
    for precision in ("auto", "int8"):
        stored = ZenReranker.from_pretrained(
            int8_folder, precision=precision, activation="identity"
        )
        assert stored.score(QUERY, DOCUMENTS).tolist() == at_load.score(QUERY, DOCUMENTS).tolist()


def test_int8_checkpoint_says_what_it_is_and_is_mapped(int8_folder: Path) -> None:
    config = json.loads((int8_folder / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "zen_fast"
    assert config["quantization_config"]["source"] == "zen-mini"
    loaded = load_checkpoint(int8_folder).weights
    name = "layers.0.ffn.up.weight"
    assert loaded[name].dtype == np.int8
    assert loaded[name].base is not None  # a view of the file


def test_int8_checkpoint_refuses_fp32(int8_folder: Path) -> None:
    with pytest.raises(UnsupportedDeviceError, match="load the model it was made from"):
        ZenReranker.from_pretrained(int8_folder, precision="fp32")


def test_quantize_of_a_quantized_checkpoint_is_a_typed_error(
    int8_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(int8_folder), str(tmp_path / "again")]) == 2
    assert "quantized already" in capsys.readouterr().err
    assert not (tmp_path / "again").exists()


def test_quantize_never_writes_over_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    assert main(["zen-mini", str(tmp_path)]) == 2
    assert "exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_quantize_to_where_nothing_can_be_written_stops_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    assert main(["no/such/model", str(tmp_path / "file" / "out")]) == 2
    assert f"{tmp_path / 'file'} is a file; give another folder" in capsys.readouterr().err


def test_quantize_into_a_folder_of_somebody_else_is_a_typed_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o500)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert main(["no/such/model", str(tmp_path / "new" / "out")]) == 2
    assert f"{tmp_path} is not yours to write" in capsys.readouterr().err


def test_quantized_checkpoint_of_another_scheme_is_a_typed_error(
    int8_folder: Path, tmp_path: Path
) -> None:
    for path in int8_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"]["scheme"] = "w2"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match="quantize the original"):
        load_checkpoint(tmp_path)


def test_quantized_checkpoint_without_its_scales_is_a_typed_error(
    int8_folder: Path, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    for path in int8_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["layers.1.ffn.up.weight_scales"]
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"layers\.1\.ffn\.up\.weight_scales"):
        load_checkpoint(tmp_path)


def test_quantized_checkpoint_may_hold_any_projection_in_int8(
    int8_folder: Path, weights: Weights, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    for path in int8_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tensors = load_file(tmp_path / "model.safetensors")
    matrix = quantize_matrix(tensors[f"{LAST_DOWN}.weight"], smooth=True)
    assert matrix.input_scales is not None
    tensors |= {
        f"{LAST_DOWN}.weight": matrix.values,
        f"{LAST_DOWN}.weight_scales": matrix.scales,
        f"{LAST_DOWN}.input_scales": matrix.input_scales,
    }
    save_file(tensors, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path).weights.linear(LAST_DOWN).weight
    assert isinstance(loaded, QuantizedMatrix)
    assert (loaded.values == matrix.values).all()
    for folder in (int8_folder, tmp_path):
        reranker = ZenReranker.from_pretrained(folder)
        assert np.isfinite(reranker.score(QUERY, DOCUMENTS)).all()


@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_quantize_weights_keeps_the_last_projection_of_pooled_rows(
    pooling: Pooling, weights: Weights, spec: EncoderSpec
) -> None:
    head = replace(spec.head, pooling=pooling)
    quantized = quantize_weights(weights, replace(spec, head=head))
    kept = {name for name in filter(is_quantizable, weights) if quantized[name].dtype != np.int8}
    assert kept == (set() if pooling == "mean" else {f"{LAST_DOWN}.weight"})


def test_at_precision_quantizes_once(weights: Weights, spec: EncoderSpec) -> None:
    quantized = at_precision(weights, spec, "int8")
    assert quantized.is_quantized
    assert at_precision(quantized, spec, "int8") is quantized
    assert at_precision(weights, spec, "auto") is weights


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_quantize_weights_refuses_what_is_not_finite(
    weights: Weights, spec: EncoderSpec, bad: float
) -> None:
    name = "layers.1.ffn.up.weight"
    broken = weights[name].copy()
    broken[3, 4] = bad
    with pytest.raises(CheckpointError, match=r"layers\.1\.ffn\.up\.weight .* not finite"):
        quantize_weights(Weights({**weights, name: broken}, weights.norm_eps), spec)


def test_quantize_weights_keeps_embeddings_that_fp16_cannot_hold(
    weights: Weights, spec: EncoderSpec
) -> None:
    name = "embeddings.position"
    large = weights[name].astype(np.float32)
    large[0, 0] = 1e6
    quantized = quantize_weights(Weights({**weights, name: large}, weights.norm_eps), spec)
    assert quantized[name].dtype == np.float32
    assert quantized["embeddings.token"].dtype == np.float16
