"""Embeddings of the Triton backend, interpreted where there is no GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tiny_embedders import save_embedder
from tolerances import EMBEDDING_COSINE
from triton_device import DEVICE

from zen_fast.backends.reference import ReferenceBackend
from zen_fast.backends.triton import TritonBackend
from zen_fast.batching import TokenizedPair, pack
from zen_fast.checkpoint.embedding import load_embedding_checkpoint
from zen_fast.encoder import Encoder


def test_pooled_rows_equal_those_of_the_reference(tmp_path: Path) -> None:
    save_embedder(tmp_path)
    body = load_embedding_checkpoint(tmp_path).body
    encoder = Encoder(body.spec, body.weights)
    texts = [
        TokenizedPair(np.arange(5, 5 + length, dtype=np.int32), np.zeros(length, np.int32))
        for length in (3, 7, 1)
    ]
    batch = pack(texts, body.spec)
    vectors = TritonBackend(encoder, DEVICE, "fp32").forward(batch)
    expected = ReferenceBackend(encoder).forward(batch)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((vectors * expected).sum(axis=1) >= EMBEDDING_COSINE * lengths).all()
    np.testing.assert_allclose(lengths, (expected**2).sum(axis=1), rtol=1e-4)
