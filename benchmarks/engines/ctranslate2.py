"""CTranslate2: its BERT encoder, with the pooler and the classifier in numpy.

Told the lengths, it leaves padding out of the linear layers. With several streams
(`inter_threads`) the replicas share one copy of the weights. `int8` quantizes the weights of the
linear layers when converting, and activations row by row at run time; the rest is fp32. Which
matrix library multiplies is left to CTranslate2: Intel's on Intel processors, oneDNN on others;
`CT2_USE_MKL=1` in the environment forces the former.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import numpy.typing as npt
from ctranslate2 import Encoder, StorageView

from benchmarks.engines.conversion import converted, load_bert
from benchmarks.engines.streams import StreamedEngine
from zen_fast.bench.engines import EngineOptions
from zen_fast.bench.engines.padded_batches import Batch


class CTranslate2(StreamedEngine):
    """fp32."""

    precision = "fp32"
    compute_type = "float32"

    def __init__(self, options: EngineOptions) -> None:
        super().__init__(options)
        self._folder = converted(self, _convert, options.model_folder, self.compute_type)
        self._head = dict(np.load(self._folder / "head.npz"))
        self.start(1)

    def load(self, num_streams: int, threads_per_stream: int) -> None:
        self._encoder = Encoder(
            str(self._folder / "encoder"),
            compute_type=self.compute_type,
            inter_threads=num_streams,
            intra_threads=threads_per_stream,
        )

    def forward(self, batch: Batch) -> npt.NDArray[np.float32]:
        lengths = batch["attention_mask"].sum(axis=1)
        output = self._encoder.forward_batch(
            StorageView.from_array(batch["input_ids"].astype(np.int32)),
            StorageView.from_array(lengths.astype(np.int32)),
            batch["token_type_ids"].tolist(),
        )
        first = np.asarray(output.last_hidden_state)[:, 0]
        head = self._head
        pooled = np.tanh(first @ head["pooler_weight"].T + head["pooler_bias"])
        logits: npt.NDArray[np.float32] = pooled @ head["weight"][0] + head["bias"][0]
        return logits

    def settings(self) -> dict[str, Any]:
        return {
            "version": ctranslate2.__version__,
            "compute_type": self._encoder.compute_type,
            **self.stream_settings(),
        }


class CTranslate2Int8(CTranslate2):
    """int8 linear layers."""

    precision = "int8"
    compute_type = "int8_float32"


def _convert(model_folder: str, target: Path, compute_type: str) -> None:
    from ctranslate2.converters import TransformersConverter
    from transformers import AutoTokenizer

    model = load_bert(model_folder, "eager")
    # The converter takes encoders, so it is given the one inside.
    with tempfile.TemporaryDirectory() as encoder_folder:
        # transformers 5 knows no other embeddings and has dropped the entry; the converter asks.
        model.bert.config.position_embedding_type = "absolute"
        model.bert.save_pretrained(encoder_folder)
        AutoTokenizer.from_pretrained(model_folder).save_pretrained(encoder_folder)
        converter = TransformersConverter(encoder_folder)
        converter.convert(str(target / "encoder"), quantization=compute_type)
    head = {
        "pooler_weight": "bert.pooler.dense.weight",
        "pooler_bias": "bert.pooler.dense.bias",
        "weight": "classifier.weight",
        "bias": "classifier.bias",
    }
    tensors = model.state_dict()
    np.savez(target / "head.npz", **{name: tensors[key].numpy() for name, key in head.items()})
