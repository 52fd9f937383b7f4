"""The adapters of other engines in benchmarks/engines against the stock model, pair by pair."""

from __future__ import annotations

import gc
import importlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_rerankers import MAX_LENGTH, save_reranker
from tiny_tokenizers import ODD_TEXTS, SENTENCES, random_text

import zen_fast
from zen_fast.bench.engines import EngineOptions, EngineRow, load_engine
from zen_fast.bench.engines.padded_batches import BATCH_SIZES
from zen_fast.bench.gate import TOLERANCES, refusal
from zen_fast.bench.worker_process import WorkerProcess
from zen_fast.errors import UnsupportedDeviceError

ROOT = Path(__file__).parent.parent
ZEN_MINI = Path(zen_fast.__file__).parent / "models" / "zen-mini"
NUM_THREADS = 2
FP32_PER_SPREAD = 1e-4

PACKAGES = {
    "ctranslate2": ("ctranslate2",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "nncf"),
}
FP32 = ("ctranslate2:CTranslate2", "onnxruntime:OnnxRuntime", "openvino:OpenVINO")
INT8 = tuple(f"{name}Int8" for name in FP32)
FOLDERS = "zen-fast-engine-*"


@dataclass(frozen=True)
class Loaded:
    """An engine beside the stock model of the same folder."""

    engine: Any
    query: str
    documents: list[str]
    stock: list[float]
    """Logits of each pair run alone, without padding, in fp32."""


@pytest.fixture(scope="module", autouse=True)
def repository_root_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        importlib.import_module("benchmarks.engines")  # before openvino, which it keeps quiet
        yield


def _adapter(name: str) -> str:
    """Its module:Class; skips where one of its packages is not installed."""
    for package in PACKAGES[name.partition(":")[0]]:
        pytest.importorskip(package)
    return f"benchmarks.engines.{name}"


def _options(folder: Path, max_length: int | None = MAX_LENGTH, **more: Any) -> EngineOptions:
    values = {"num_threads": NUM_THREADS, "device": "cpu", "precision": "fp32", **more}
    return EngineOptions(str(folder), max_length=max_length, **values)


def _stock_logits(folder: Path, query: str, documents: list[str], max_length: int) -> list[float]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    logits = []
    with torch.inference_mode():
        for document in documents:
            # In lists: outside one, an empty document would be taken for none.
            pair = tokenizer(
                [query], [document], truncation=True, max_length=max_length, return_tensors="pt"
            )
            logits.append(float(model.eval()(**pair).logits[0, 0]))
    return logits


@pytest.fixture(scope="module", params=FP32)
def fp32(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """On a tiny random model, with texts from nothing to longer than the model reads."""
    adapter = _adapter(request.param)
    folder = save_reranker(tmp_path_factory.mktemp("tiny"))
    rng = random.Random(0)
    documents = [*ODD_TEXTS, *SENTENCES, *(random_text(rng, rng.randint(1, 90)) for _ in range(9))]
    stock = _stock_logits(folder, SENTENCES[0], documents, MAX_LENGTH)
    return Loaded(load_engine(adapter, _options(folder)), SENTENCES[0], documents, stock)


@pytest.fixture(scope="module", params=INT8)
def int8(request: pytest.FixtureRequest) -> Loaded:
    """On zen-mini: random weights say nothing of what quantization costs."""
    adapter = _adapter(request.param)
    query = "How do plants store energy from the sun?"
    documents = [
        "Photosynthesis stores the energy of light in chemical bonds.",
        "The stadium holds ninety thousand people.",
        "Plants turn sunlight into sugar in their leaves.",
        "",
        *SENTENCES,
        "The sun is a star. " * 40,
        "Chlorophyll absorbs light, and its energy builds carbohydrates from water. " * 4,
        *(f"Chapter {index}: leaves and light. " * index for index in range(1, 12)),
    ]
    stock = _stock_logits(ZEN_MINI, query, documents, 512)
    return Loaded(load_engine(adapter, _options(ZEN_MINI, 512)), query, documents, stock)


def _difference_per_spread(logits: list[float], expected: list[float]) -> float:
    return float(np.abs(np.subtract(logits, expected)).max() / np.ptp(expected))


@pytest.mark.parametrize("num_streams", [1, NUM_THREADS])
def test_fp32_adapter_gives_stock_logits_in_input_order(fp32: Loaded, num_streams: int) -> None:
    fp32.engine.start(num_streams)
    fp32.engine.batch_size = 5
    logits = fp32.engine.logits(fp32.query, fp32.documents)
    assert _difference_per_spread(logits, fp32.stock) < FP32_PER_SPREAD
    backwards = fp32.engine.logits(fp32.query, fp32.documents[::-1])
    assert _difference_per_spread(backwards[::-1], fp32.stock) < FP32_PER_SPREAD
    alone = [fp32.engine.logits(fp32.query, [document])[0] for document in fp32.documents[-3:]]
    assert _difference_per_spread([*logits[:-3], *alone], fp32.stock) < FP32_PER_SPREAD
    assert fp32.engine.precision == "fp32"


@pytest.mark.parametrize("num_streams", [1, NUM_THREADS])
def test_int8_adapter_passes_the_gate_of_int8_and_no_finer_one(
    int8: Loaded, num_streams: int
) -> None:
    int8.engine.start(num_streams)
    int8.engine.batch_size = 5
    logits = int8.engine.logits(int8.query, int8.documents)
    assert int8.engine.precision == "int8"
    assert refusal([logits], [int8.stock], TOLERANCES["int8"]) is None
    backwards = int8.engine.logits(int8.query, int8.documents[::-1])
    assert refusal([backwards[::-1]], [int8.stock], TOLERANCES["int8"]) is None
    # As exact as fp32 would mean that nothing was quantized.
    assert refusal([logits], [int8.stock], TOLERANCES["fp32"]) is not None


def test_tune_chooses_from_both_ways_and_keeps_the_logits(fp32: Loaded) -> None:
    fp32.engine.tune(fp32.query, fp32.documents)
    settings = fp32.engine.settings()
    assert settings["batch_size"] in BATCH_SIZES
    assert settings["num_streams"] in (1, NUM_THREADS)
    assert settings["version"]
    logits = fp32.engine.logits(fp32.query, fp32.documents)
    assert _difference_per_spread(logits, fp32.stock) < FP32_PER_SPREAD


def test_tune_takes_a_single_document(fp32: Loaded) -> None:
    fp32.engine.tune(fp32.query, fp32.documents[-1:])
    logits = fp32.engine.logits(fp32.query, fp32.documents[-1:])
    assert _difference_per_spread([*fp32.stock[:-1], *logits], fp32.stock) < FP32_PER_SPREAD


@pytest.mark.parametrize("name", INT8[:2])
def test_worker_reports_the_precision_and_leaves_no_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = _adapter(name)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    folder = save_reranker(tmp_path)
    monkeypatch.setenv("TMPDIR", str(scratch))
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), inherited)))
    with WorkerProcess(name, num_threads=1) as worker:
        _, precision = worker.load(EngineRow(name, adapter, "fp32"), _options(folder))
        logits, _ = worker.logits(SENTENCES[0], list(SENTENCES))
        assert list(scratch.glob(FOLDERS))
    assert precision == "int8"
    assert np.isfinite(logits).all()
    assert not list(scratch.glob(FOLDERS))


@pytest.mark.parametrize("name", FP32)
def test_adapter_refuses_other_devices(name: str, tmp_path: Path) -> None:
    adapter = _adapter(name)
    with pytest.raises(UnsupportedDeviceError, match="runs on cpu, not cuda"):
        load_engine(adapter, _options(tmp_path, device="cuda"))


class _Owner:
    """Something that can be referred to weakly."""


def _write_marker(model_folder: str, target: Path, text: str) -> None:
    if text == "fail":
        raise ValueError(f"cannot convert {model_folder}")
    (target / "marker").write_text(f"{model_folder} {text} {os.getpid()}")


def test_converted_folder_is_filled_elsewhere_and_goes_with_its_owner() -> None:
    converted = importlib.import_module("benchmarks.engines.conversion").converted
    owner = _Owner()
    folder = converted(owner, _write_marker, "model", "text")
    model, text, process_id = (folder / "marker").read_text().split()
    assert (model, text) == ("model", "text")
    assert int(process_id) != os.getpid()
    del owner
    gc.collect()
    assert not folder.exists()


def test_converted_raises_what_the_conversion_raises() -> None:
    converted = importlib.import_module("benchmarks.engines.conversion").converted
    with pytest.raises(ValueError, match="cannot convert model"):
        converted(_Owner(), _write_marker, "model", "fail")


def test_load_bert_refuses_other_models(tmp_path: Path) -> None:
    conversion = importlib.import_module("benchmarks.engines.conversion")
    folder = save_reranker(tmp_path, "roberta")
    with pytest.raises(zen_fast.errors.UnsupportedModelError, match="is of type 'roberta'"):
        conversion.load_bert(str(folder), "eager")


def test_adapters_report_to_nobody() -> None:
    importlib.import_module("benchmarks.engines")
    with pytest.raises(ImportError):
        importlib.import_module("openvino_telemetry")
