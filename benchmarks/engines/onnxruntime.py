"""ONNX Runtime, driven by hand: torch.onnx's export, fused by onnxruntime.transformers.

The export is made with eager attention by the TorchScript exporter: that is the graph in which the
optimizer finds all of BERT (EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu).
A graph in which it finds less is an error, not a slower row.

`OnnxRuntimeInt8` quantizes the fused graph dynamically: weights to int8 per output channel,
activations to uint8 per tensor at run time. Weights take the full 8 bits where the processor has
VNNI and 7 bits (`reduce_range`) where it has not: there, u8 x s8 sums two products in 16 bits, and
8-bit weights would saturate them. (u8 weights avoid that too, by a slower kernel.) Embeddings, and
the pooler and classifier of a few rows each, stay fp32: they cost no time and all of their error
would show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from benchmarks.engines.conversion import (
    BERT_INPUTS,
    bert_logits,
    converted,
    example_inputs,
    has_vnni,
    load_bert,
)
from benchmarks.engines.streams import StreamedEngine
from zen_fast.bench.engines import EngineOptions
from zen_fast.bench.engines.padded_batches import Batch
from zen_fast.errors import UnsupportedModelError

_OPSET = 17
"""The first with LayerNormalization; a later one brings nothing that BERT uses."""


class OnnxRuntime(StreamedEngine):
    """fp32."""

    precision = "fp32"

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        folder = converted(self, _convert, options.model_folder, self.precision == "int8")
        self._path = folder / "model.onnx"
        self.start(1)

    def load(self, num_streams: int, threads_per_stream: int) -> None:
        # A session may be run from many threads; with one thread of its own it uses the caller's.
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads_per_stream
        options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(
            str(self._path), options, providers=["CPUExecutionProvider"]
        )

    def forward(self, batch: Batch) -> npt.NDArray[np.float32]:
        logits: npt.NDArray[np.float32] = self._session.run(
            ["logits"], {name: batch[name] for name in BERT_INPUTS}
        )[0]
        return logits

    def settings(self) -> dict[str, Any]:
        return {"version": ort.__version__, **self.stream_settings()}


class OnnxRuntimeInt8(OnnxRuntime):
    """int8 weights, activations quantized dynamically."""

    precision = "int8"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "reduce_range": not has_vnni()}


def _convert(model_folder: str, target: Path, quantize: bool) -> None:
    exported, fused = target / "exported.onnx", target / "fused.onnx"
    _export(model_folder, exported)
    _fuse(model_folder, exported, fused)
    if quantize:
        _quantize(fused, target / "model.onnx")
    else:
        fused.rename(target / "model.onnx")


def _export(model_folder: str, target: Path) -> None:
    import torch

    model = load_bert(model_folder, "eager")
    torch.onnx.export(
        bert_logits(model),
        tuple(example_inputs().values()),
        target,
        input_names=list(BERT_INPUTS),
        output_names=["logits"],
        dynamic_axes={name: {0: "num_pairs", 1: "longest"} for name in BERT_INPUTS}
        | {"logits": {0: "num_pairs"}},
        opset_version=_OPSET,
        dynamo=False,
    )


def _fuse(model_folder: str, exported: Path, target: Path) -> None:
    from onnxruntime.transformers.optimizer import optimize_model
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model_folder)
    model = optimize_model(
        str(exported),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        opt_level=0,  # the session optimizes what is left
    )
    num_layers = config.num_hidden_layers
    expected = {"EmbedLayerNormalization": 1, "Attention": num_layers}
    expected |= {"SkipLayerNormalization": 2 * num_layers}
    found = model.get_fused_operator_statistics()
    if any(found[name] != count for name, count in expected.items()):
        raise UnsupportedModelError(f"onnxruntime.transformers fused {found}, not {expected}")
    model.save_model_to_file(str(target))


def _quantize(fused: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    head = [node.name for node in onnx.load(fused).graph.node if node.op_type == "Gemm"]
    quantize_dynamic(
        fused,
        target,
        op_types_to_quantize=["MatMul", "Attention"],
        nodes_to_exclude=head,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=not has_vnni(),
        # Shape inference does not know the types that fused operators give.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
