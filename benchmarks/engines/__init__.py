"""Adapters that time other inference engines beside zen_fast: `--engines zen,module:Class`.

    pip install zen-fast[bench,engines]
    python -m zen_fast.bench --engines zen,benchmarks.engines.onnxruntime:OnnxRuntimeInt8

Run from the repository's root, where `benchmarks` can be imported. All take BERT rerankers, on the
CPU, and convert the model when they are loaded: load and cold start contain the conversion, peak
memory does not. Each tunes its batch size and whether all threads work on one batch or each on one
of its own. The quantized ones are rows of precision int8, and the gate refuses them as such.

sentence-transformers' `CrossEncoder` with backend "onnx" or "openvino" is left out: it needs
optimum-onnx or optimum-intel, whose newest versions (0.1.0, 2.2.0) demand transformers < 4.58 and
< 5.6 and cannot be installed beside the transformers 5.23.0 of constraints.txt.
"""

import sys

# OpenVINO and NNCF report to their makers, from their import on; a benchmark has no leave to.
# An import that fails is what they accept as a no.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
