"""Layers with outlying activations are found by running them, and stay in fp32."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sensitive_layers import SPEC, measure, models, random_pairs
from zen_fast.sensitive_layers import LARGEST_ERROR, layer_errors, sensitive_layers
from zen_fast.weights import Weights


def test_planted_layers_are_found_and_kept() -> None:
    sample, texts = random_pairs(1, 6), random_pairs(2, 30)
    by_name = {name: measure(tensors, sample, texts) for name, tensors in models(seed=3)}
    plain, planted = by_name["no outliers"], by_name["x100 in both"]
    assert max(plain["layer_errors"]) < LARGEST_ERROR / 2
    assert plain["kept_layers"] == []
    assert 2 in planted["kept_layers"]
    assert set(planted["kept_layers"]) <= {2, 5}
    assert planted["int8_with_kept_error"] < planted["int8_error"] / 2


def test_errors_are_those_of_each_layer_alone() -> None:
    """The layers around an outlying one have the errors that they have without it."""
    sample = random_pairs(1, 6)
    plain, planted = (
        layer_errors(SPEC, Weights(dict(dict(models(3))[name]), SPEC.norm_eps, False), sample)
        for name in ("no outliers", "x100 in the input of layer 2")
    )
    others = [index for index in range(SPEC.num_layers) if index != 2]
    np.testing.assert_allclose(planted[others], plain[others], rtol=0.2)
    assert planted[2] > 5 * plain[2]


def test_encoders_are_quantized_whole() -> None:
    from zen_fast.checkpoint import load_checkpoint

    checkpoint = load_checkpoint("zen-mini")
    assert sensitive_layers(checkpoint.spec, checkpoint.weights, None) == ()  # type: ignore[arg-type]


def test_reranker_keeps_what_quantize_keeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from tiny_rerankers import save_reranker

    from zen_fast import ZenReranker
    from zen_fast.cli import main

    folder = save_reranker(tmp_path / "model")
    vocab_size = json.loads((folder / "config.json").read_text())["vocab_size"]
    config = transformers.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=3,
        intermediate_size=96,
        max_position_embeddings=256,
        num_labels=1,
        pad_token_id=0,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForSequenceClassification(config)
    with torch.no_grad():
        layer = model.model.layers[1]
        layer.post_attention_layernorm.weight[:2] *= 200
        for projection in (layer.mlp.gate_proj, layer.mlp.up_proj):
            projection.weight[:, :2] /= 200
    model.save_pretrained(folder)
    assert main(["quantize", str(folder), str(tmp_path / "int8")]) == 0
    assert "layers 1 in fp32" in capsys.readouterr().out
    saved = ZenReranker.from_pretrained(tmp_path / "int8", num_threads=1)
    loaded = ZenReranker.from_pretrained(folder, precision="int8", num_threads=1)
    documents = ["yeast", "bread rises", "the dough", "sun and sky"]
    scores = saved.score("why does bread rise", documents)
    np.testing.assert_array_equal(scores, loaded.score("why does bread rise", documents))
