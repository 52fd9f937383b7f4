"""Finding, reading and refusing checkpoints, on a tiny BERT written without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from zen_fast.checkpoint import load_checkpoint, location
from zen_fast.errors import CheckpointError, ModelNotFoundError

HIDDEN, LAYERS, INTERMEDIATE, VOCAB, POSITIONS = 8, 2, 12, 19, 16
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "num_attention_heads": 2,
    "num_hidden_layers": LAYERS,
    "intermediate_size": INTERMEDIATE,
    "max_position_embeddings": POSITIONS,
    "num_labels": 1,
}
WORDS = "bert.embeddings.word_embeddings.weight"
TABLES = {"embeddings.token", "embeddings.position", "embeddings.token_type"}

Tensors = dict[str, np.ndarray]


def bert_tensors(dtype: type = np.float32) -> Tensors:
    """Every tensor of a BertForSequenceClassification with CONFIG, values exact in bfloat16."""
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {
        WORDS: (VOCAB, HIDDEN),
        "bert.embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "bert.embeddings.token_type_embeddings.weight": (2, HIDDEN),
    }

    def module(name: str, out_width: int, *in_width: int) -> None:
        shapes[f"{name}.weight"] = (out_width, *in_width)
        shapes[f"{name}.bias"] = (out_width,)

    module("bert.embeddings.LayerNorm", HIDDEN)
    for layer in (f"bert.encoder.layer.{index}" for index in range(LAYERS)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            module(f"{layer}.attention.{part}", HIDDEN, HIDDEN)
        module(f"{layer}.attention.output.LayerNorm", HIDDEN)
        module(f"{layer}.intermediate.dense", INTERMEDIATE, HIDDEN)
        module(f"{layer}.output.dense", HIDDEN, INTERMEDIATE)
        module(f"{layer}.output.LayerNorm", HIDDEN)
    module("bert.pooler.dense", HIDDEN, HIDDEN)
    module("classifier", 1, HIDDEN)
    return {
        name: (rng.integers(-128, 128, shape) / 64).astype(dtype) for name, shape in shapes.items()
    }


def write(folder: Path, tensors: Tensors, config: dict[str, Any] | None = None) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG if config is None else config))
    save_file(tensors, folder / "model.safetensors")
    return folder


def write_shards(folder: Path, tensors: Tensors) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    names = list(tensors)
    files = {f"model-{n + 1:05}-of-00003.safetensors": names[n::3] for n in range(3)}
    for file, part in files.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in files.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def write_bf16(folder: Path, tensors: Tensors) -> Path:
    """A bfloat16 file, byte by byte, because numpy has no such type to save."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        bits = (tensor.view(np.uint32) >> 16).astype("<u2").tobytes()
        offsets = [len(data), len(data) + len(bits)]
        header[name] = {"dtype": "BF16", "shape": tensor.shape, "data_offsets": offsets}
        data += bits
    header_bytes = json.dumps(header).encode()
    length = len(header_bytes).to_bytes(8, "little")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "model.safetensors").write_bytes(length + header_bytes + data)
    return folder


def base_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


@pytest.mark.parametrize("writer", [write, write_shards, write_bf16])
def test_weights_are_exact_fp32_however_stored(
    tmp_path: Path, writer: Callable[[Path, Tensors], Path]
) -> None:
    tensors = bert_tensors()
    checkpoint = load_checkpoint(writer(tmp_path, tensors))
    weights = checkpoint.weights
    attention = "bert.encoder.layer.1.attention"
    qkv = [tensors[f"{attention}.self.{part}.weight"] for part in ("query", "key", "value")]
    np.testing.assert_array_equal(weights["layers.1.attention.qkv.weight"], np.concatenate(qkv))
    np.testing.assert_array_equal(weights["embeddings.token"], tensors[WORDS])
    np.testing.assert_array_equal(weights["head.classifier.bias"], tensors["classifier.bias"])
    assert {weights[name].dtype for name in weights} == {np.dtype(np.float32)}
    assert all(weights[name].flags.c_contiguous for name in weights)
    assert checkpoint.spec.head.num_labels == 1
    assert checkpoint.config == CONFIG
    assert checkpoint.tokenizer_config == {}


def test_fp16_tables_stay_views_of_the_file(tmp_path: Path) -> None:
    tensors = bert_tensors(np.float16)
    weights = load_checkpoint(write(tmp_path, tensors)).weights
    for name in weights:
        expected = np.float16 if name in TABLES else np.float32
        assert weights[name].dtype == expected, name
    for name in TABLES:
        assert isinstance(base_of(weights[name]), np.memmap), name
    np.testing.assert_array_equal(weights["embeddings.token"], tensors[WORDS])


def test_fp32_tensors_stay_views_of_the_file(tmp_path: Path) -> None:
    weights = load_checkpoint(write(tmp_path, bert_tensors())).weights
    assert isinstance(base_of(weights["layers.0.ffn.up.weight"]), np.memmap)


def test_tensors_without_the_prefix_load(tmp_path: Path) -> None:
    bare = {name.removeprefix("bert."): tensor for name, tensor in bert_tensors().items()}
    weights = load_checkpoint(write(tmp_path, bare)).weights
    np.testing.assert_array_equal(weights["embeddings.token"], bert_tensors()[WORDS])


def test_old_layer_norm_names_load(tmp_path: Path) -> None:
    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        )

    tensors = bert_tensors()
    weights = load_checkpoint(write(tmp_path, {old(n): t for n, t in tensors.items()})).weights
    np.testing.assert_array_equal(
        weights["embeddings.norm.weight"], tensors["bert.embeddings.LayerNorm.weight"]
    )


def test_buffers_of_ids_are_ignored(tmp_path: Path) -> None:
    tensors = bert_tensors()
    tensors["bert.embeddings.position_ids"] = np.arange(POSITIONS)[None]
    load_checkpoint(write(tmp_path, tensors))


def test_missing_head_is_named(tmp_path: Path) -> None:
    tensors = {n: t for n, t in bert_tensors().items() if not n.startswith("classifier")}
    with pytest.raises(CheckpointError, match=r"missing in .*classifier\.bias, classifier\.weight"):
        load_checkpoint(write(tmp_path, tensors))


def test_leftover_tensor_is_named(tmp_path: Path) -> None:
    tensors = bert_tensors() | {"bert.encoder.adapter.weight": np.zeros(3, np.float32)}
    with pytest.raises(CheckpointError, match=r"does not use: bert\.encoder\.adapter\.weight$"):
        load_checkpoint(write(tmp_path, tensors))


@pytest.mark.parametrize(
    "name",
    [
        WORDS,
        "classifier.weight",
        "classifier.bias",
        "bert.encoder.layer.0.attention.self.key.weight",
    ],
)
def test_wrong_shape_is_named(tmp_path: Path, name: str) -> None:
    tensors = bert_tensors()
    tensors[name] = np.concatenate([tensors[name], tensors[name]])
    with pytest.raises(CheckpointError, match=rf"{name} of .* has shape .* config.json asks for"):
        load_checkpoint(write(tmp_path, tensors))


def test_stacked_parts_of_uneven_width_are_refused(tmp_path: Path) -> None:
    tensors = bert_tensors()
    attention = "bert.encoder.layer.0.attention.self"
    tensors[f"{attention}.query.weight"] = np.zeros((HIDDEN + 1, HIDDEN), np.float32)
    tensors[f"{attention}.key.weight"] = np.zeros((HIDDEN - 1, HIDDEN), np.float32)
    with pytest.raises(CheckpointError, match=rf"{attention}\.query\.weight of .* has shape"):
        load_checkpoint(write(tmp_path, tensors))


def test_pickle_only_checkpoint_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin.*safe_serialization"):
        load_checkpoint(tmp_path)


def test_missing_shard_is_named(tmp_path: Path) -> None:
    write_shards(tmp_path, bert_tensors())
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("kept_bytes", [0, 5, 100, 4000])
def test_file_cut_short_is_refused(tmp_path: Path, kept_bytes: int) -> None:
    path = write(tmp_path, bert_tensors()) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*(cut short|no safetensors)"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"w": 3},
        {"w": {"dtype": "F32", "shape": [1]}},
        {"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}},
    ],
)
def test_malformed_header_is_refused(tmp_path: Path, header: object) -> None:
    write(tmp_path, bert_tensors())
    content = json.dumps(header).encode()
    length = len(content).to_bytes(8, "little")
    (tmp_path / "model.safetensors").write_bytes(length + content + bytes(4))
    with pytest.raises(CheckpointError, match="no safetensors file: its header"):
        load_checkpoint(tmp_path)


def test_unreadable_dtype_is_named(tmp_path: Path) -> None:
    write_bf16(tmp_path, bert_tensors())
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b"BF16", b"F8_X"))
    with pytest.raises(CheckpointError, match=r"is stored as F8_X; accepted: .*BF16"):
        load_checkpoint(tmp_path)


def test_folder_without_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        load_checkpoint(tmp_path)


def test_malformed_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json is no JSON"):
        load_checkpoint(tmp_path)


def test_tokenizer_config_is_read(tmp_path: Path) -> None:
    write(tmp_path, bert_tensors())
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 12}')
    assert load_checkpoint(tmp_path).tokenizer_config == {"model_max_length": 12}


@pytest.mark.parametrize("name", ["", "./no-such-folder", "/no/such/folder", "a/b/c"])
def test_missing_folder_is_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match="local folder"):
        load_checkpoint(name)
    with pytest.raises(ModelNotFoundError, match="local folder"):
        load_checkpoint(Path("no-such-owner/no-such-model"))


def test_hub_id_offline_is_not_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFoundError, match=r"'owner/no-such-model'.*check the name"):
        load_checkpoint("owner/no-such-model")


@pytest.mark.parametrize("name", ["zenmini", "zen_mini", "Zen-mini", "./zen-mini"])
def test_mistyped_embedded_name_suggests(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelNotFoundError, match=r": did you mean 'zen-mini'\?$"):
        load_checkpoint(name)


@pytest.mark.parametrize("as_text", [True, False])
def test_file_of_a_model_names_its_folder(
    as_text: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    write(tmp_path / "model", bert_tensors())
    monkeypatch.chdir(tmp_path)
    file = Path("model") / "model.safetensors"
    with pytest.raises(ModelNotFoundError, match="is a file; give its folder, 'model'"):
        load_checkpoint(str(file) if as_text else file)


def test_embedded_name_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(location, "EMBEDDED_MODELS_FOLDER", tmp_path)
    folder = tmp_path / "tiny"
    folder.mkdir()
    write(folder, bert_tensors())
    assert location.embedded_models() == ["tiny"]
    assert load_checkpoint("tiny").folder == folder


def test_local_load_imports_nothing_slow(tmp_path: Path) -> None:
    write(tmp_path, bert_tensors())
    code = (
        "import sys; from zen_fast.checkpoint import load_checkpoint; "
        "load_checkpoint(sys.argv[1]); "
        "print(*{'torch', 'transformers', 'huggingface_hub', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
