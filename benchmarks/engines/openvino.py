"""OpenVINO: converted from PyTorch, with the LATENCY hint for one stream, THROUGHPUT for several.

Lengths are padded to multiples of 8, because OpenVINO generates code for each new shape.

`OpenVINOInt8` is NNCF's post-training quantization, for transformers, of weights and activations,
with ranges from 64 pairs of docstrings of Python's asyncio. The pooler and the classifier stay
fp32: they cost no time, and quantizing them is what would take zen-mini's logits out of the gate's
tolerance. Where the processor has no VNNI, weights take half the range (`OverflowFix.ENABLE`), for
sums might saturate with the whole; int8 need not be faster than fp32 there.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov

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
from zen_fast.standard_library import standard_library_collection

_CALIBRATION_PAIRS = 64


class OpenVINO(StreamedEngine):
    """fp32."""

    precision = "fp32"
    length_multiple = 8

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        folder = converted(
            self, _convert, options.model_folder, self.precision == "int8", options.max_length
        )
        self._path = folder / "model.xml"
        self.start(1)

    def load(self, num_streams: int, threads_per_stream: int) -> None:
        compiled = ov.Core().compile_model(
            self._path,
            "CPU",
            {
                "PERFORMANCE_HINT": "LATENCY" if num_streams == 1 else "THROUGHPUT",
                "NUM_STREAMS": num_streams,
                "INFERENCE_NUM_THREADS": num_streams * threads_per_stream,
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        self._requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(num_streams):
            self._requests.put(compiled.create_infer_request())

    def forward(self, batch: Batch) -> npt.NDArray[np.float32]:
        with self._request() as request:
            request.infer({name: batch[name] for name in BERT_INPUTS}, share_inputs=True)
            logits: npt.NDArray[np.float32] = request.get_output_tensor().data.copy()
        return logits

    @contextmanager
    def _request(self) -> Iterator[ov.InferRequest]:
        request = self._requests.get()
        try:
            yield request
        finally:
            self._requests.put(request)

    def settings(self) -> dict[str, Any]:
        return {
            "version": ov.__version__,
            "length_multiple": self.length_multiple,
            **self.stream_settings(),
        }


class OpenVINOInt8(OpenVINO):
    """int8 weights and activations."""

    precision = "int8"

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "overflow_fix": not has_vnni()}


def _convert(model_folder: str, target: Path, quantize: bool, max_length: int | None) -> None:
    model = ov.convert_model(
        bert_logits(load_bert(model_folder, "sdpa")),
        example_input=example_inputs(),
        input=[(name, [-1, -1], ov.Type.i64) for name in BERT_INPUTS],
    )
    if quantize:
        model = _quantize(model, _calibration_batches(model_folder, max_length))
    ov.save_model(model, target / "model.xml", compress_to_fp16=False)


def _quantize(model: ov.Model, batches: list[dict[str, Any]]) -> ov.Model:
    import nncf

    fix = nncf.OverflowFix.DISABLE if has_vnni() else nncf.OverflowFix.ENABLE
    return nncf.quantize(
        model,
        nncf.Dataset(batches),
        subset_size=len(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(patterns=[r".*\.pooler\..*", r".*\.classifier/.*"]),
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=fix),
    )


def _calibration_batches(model_folder: str, max_length: int | None) -> list[dict[str, Any]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    texts = standard_library_collection(Path(sysconfig.get_paths()["stdlib"]) / "asyncio")
    ids = list(texts.queries)[:_CALIBRATION_PAIRS]
    batches = []
    for index, query_id in enumerate(ids):
        # By turns a query's own document and another's: relevant pairs and irrelevant ones.
        document = texts.documents[ids[index - index % 2]]
        pair = ([texts.queries[query_id]], [document.full])
        batches.append(
            dict(tokenizer(*pair, truncation=True, max_length=max_length, return_tensors="np"))
        )
    return batches
