"""The forward pass of each backend on one packed batch, tokenization left out."""

from __future__ import annotations

import pytest
from conftest import Workbench
from pytest_benchmark.fixture import BenchmarkFixture

from zen_fast.batching import pack
from zen_fast.checkpoint import load_checkpoint
from zen_fast.encoder import Encoder
from zen_fast.placement import make_backend


@pytest.mark.parametrize(
    ("backend", "num_documents"), [("cpu", 1), ("cpu", 10), ("cpu", 100), ("reference", 10)]
)
def test_bench_forward(
    benchmark: BenchmarkFixture, workbench: Workbench, backend: str, num_documents: int
) -> None:
    checkpoint = load_checkpoint(workbench.model.folder)
    running, _ = make_backend(backend, "cpu", "fp32", None)(
        Encoder(checkpoint.spec, checkpoint.weights)
    )
    documents = workbench.request.documents[:num_documents]
    queries = [workbench.request.query] * num_documents
    batch = pack(workbench.model.pair_tokenizer.encode_pairs(queries, documents), checkpoint.spec)
    benchmark.extra_info["num_tokens"] = batch.num_tokens
    logits = benchmark(running.forward, batch)
    assert logits.shape == (num_documents, 1)
