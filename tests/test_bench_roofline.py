"""The paper estimate: its FLOPs are those that the benchmark counts, its launches the backend's."""

from __future__ import annotations

import numpy as np
import pytest

from zen_fast.architectures import encoder_spec
from zen_fast.bench.flops import useful_flops
from zen_fast.bench.random_model import SHAPES
from zen_fast.bench.roofline import H200, count_ops, expected_seconds
from zen_fast.spec import EncoderSpec

LENGTHS = [1, 17, 86, 130]
MODERNBERT = {
    "model_type": "modernbert",
    "architectures": ["ModernBertForSequenceClassification"],
    "vocab_size": 99,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 80,
    "max_position_embeddings": 256,
    "local_attention": 16,
    "id2label": {"0": "LABEL_0"},
}


T5 = {
    "model_type": "t5",
    "architectures": ["T5ForConditionalGeneration"],
    "vocab_size": 99,
    "d_model": 48,
    "d_kv": 10,
    "d_ff": 80,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",
}


def _spec(name: str) -> EncoderSpec:
    return encoder_spec({"modernbert": MODERNBERT, "t5": T5}.get(name) or SHAPES[name])


@pytest.mark.parametrize("name", ["minilm-l6", "large", "modernbert", "t5"])
def test_count_ops_counts_the_flops_of_the_benchmark(name: str) -> None:
    spec = _spec(name)
    counted = sum(each.flops for each in count_ops(spec, LENGTHS, "fp16"))
    assert counted == useful_flops(spec, LENGTHS)


def test_count_ops_launches_are_those_of_the_backend() -> None:
    spec = _spec("minilm-l6")
    # Embedding and its norm; seven a layer, the last one's first rows pooled twice and its query
    # apart from its keys; dense and classifier.
    launches = sum(each.launches for each in count_ops(spec, LENGTHS, "fp16"))
    assert launches == 2 + 7 * 6 + 3 + 2
    # Rows are quantized before attention's output and the second half of the FFN; a norm emits
    # the others, but for the first rows that the last layer's query is made of.
    eight_bits = sum(each.launches for each in count_ops(spec, LENGTHS, "int8"))
    assert eight_bits == launches + 2 * 6 + 1


@pytest.mark.parametrize(
    ("name", "milliseconds"), [("minilm-l6", 0.25), ("base", 1.9), ("large", 6.6)]
)
def test_arithmetic_of_a_hundred_documents_is_what_it_takes_on_an_h200(
    name: str, milliseconds: float
) -> None:
    flops = sum(each.flops for each in count_ops(_spec(name), [86] * 100, "fp16"))
    whole = milliseconds / 1000
    # Of the last layer only its keys, values and first rows are computed.
    assert 0.75 * whole < flops / H200.flops_per_second["fp16"] <= whole


def test_expected_seconds_of_eight_bits_are_fewer_on_a_large_model() -> None:
    large = _spec("large")
    seconds = {each: expected_seconds(large, [86] * 100, each) for each in ("fp16", "int8")}
    assert 0.5 < seconds["int8"] / seconds["fp16"] < 0.75
    assert np.isfinite(expected_seconds(large, [1], "fp32"))
