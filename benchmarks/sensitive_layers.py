"""What int8 loses where a language model has outlying activations, and what keeping layers saves.

    python -m benchmarks.sensitive_layers --json result.json

No language model ships with zen_fast, so outliers are planted in one of random weights, as they are
reported of real ones: a few channels of the residual stream, written by one layer's feed-forward
part for the first token (massive activations), and in some layers a few channels of what the
projections read, in every token. Each model is scored in fp32, in int8 throughout, and in int8 with
the layers that `zen_fast.sensitive_layers` keeps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.backends.cpu import CpuBackend
from zen_fast.batching import TokenizedPair, pack
from zen_fast.encoder import Encoder
from zen_fast.machine import describe_machine, describe_versions, git_commit
from zen_fast.quantization import quantize_weights
from zen_fast.sensitive_layers import LARGEST_ERROR, layer_errors
from zen_fast.spec import EncoderSpec, HeadSpec, LayerSpec
from zen_fast.weights import Weights, parameter_shapes

NUM_LAYERS, HIDDEN, HEADS, KV_HEADS, INTERMEDIATE, VOCAB_SIZE = 8, 256, 8, 4, 768, 2048
OUTLYING_CHANNELS = 3
INVERSE_FREQUENCIES = tuple(float(10000 ** (-2 * i / 32)) for i in range(16))

SPEC = EncoderSpec(
    architecture="qwen3",
    vocab_size=VOCAB_SIZE,
    hidden_size=HIDDEN,
    num_heads=HEADS,
    num_kv_heads=KV_HEADS,
    intermediate_size=INTERMEDIATE,
    max_length=256,
    layers=(LayerSpec(rotary=INVERSE_FREQUENCIES),) * NUM_LAYERS,
    head=HeadSpec(1, "last", dense=False, activation=None, classifier_bias=False),
    embedding_norm=False,
    norm_position="pre",
    norm_bias=False,
    norm_centred=False,
    norm_eps=1e-6,
    final_norm=True,
    attention_bias=False,
    attention_output_bias=False,
    query_key_norm=True,
    causal=True,
    activation="silu",
    gate="activate_first",
    ffn_up_bias=False,
    ffn_down_bias=False,
)


def plain_model(seed: int) -> dict[str, NDArray[np.float32]]:
    """Random weights of ordinary sizes."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in parameter_shapes(SPEC).items():
        if len(shape) == 1:
            tensors[name] = (1 + 0.1 * rng.normal(size=shape)).astype(np.float32)
        else:
            scale = 1.0 if name == "embeddings.token" else shape[1] ** -0.5
            tensors[name] = (scale * rng.normal(size=shape)).astype(np.float32)
    return tensors


def with_outlying_inputs(
    tensors: dict[str, NDArray[np.float32]], layer: int, factor: float
) -> dict[str, NDArray[np.float32]]:
    """Some channels of a layer's feed-forward input are `factor` times as large in every token.

    The weights that read them are as much smaller: the layer computes what it computed.
    """
    norm, up = f"layers.{layer}.ffn.norm.weight", f"layers.{layer}.ffn.up.weight"
    scales = np.ones(HIDDEN, np.float32)
    scales[:OUTLYING_CHANNELS] = factor
    return tensors | {norm: tensors[norm] * scales, up: tensors[up] / scales}


def with_outlying_products(
    tensors: dict[str, NDArray[np.float32]], layer: int, factor: float
) -> dict[str, NDArray[np.float32]]:
    """The same of what its down projection reads."""
    up, down = f"layers.{layer}.ffn.up.weight", f"layers.{layer}.ffn.down.weight"
    scales = np.ones(INTERMEDIATE, np.float32)
    scales[:OUTLYING_CHANNELS] = factor
    gate, linear = np.split(tensors[up], 2)
    return tensors | {
        up: np.concatenate((gate, linear * scales[:, None])),
        down: tensors[down] / scales,
    }


def models(seed: int) -> Iterator[tuple[str, dict[str, NDArray[np.float32]]]]:
    """What is measured: name and weights."""
    plain = plain_model(seed)
    yield "no outliers", plain
    for factor in (10.0, 30.0, 100.0):
        yield f"x{factor:g} in the input of layer 2", with_outlying_inputs(plain, 2, factor)
        yield f"x{factor:g} before layer 5's last product", with_outlying_products(plain, 5, factor)
    both = with_outlying_products(with_outlying_inputs(plain, 2, 100.0), 5, 100.0)
    yield "x100 in both", both


def random_pairs(seed: int, num_pairs: int) -> list[TokenizedPair]:
    """Sequences of 20 to 120 random tokens."""
    rng = np.random.default_rng(seed)
    pairs = []
    for length in rng.integers(20, 120, num_pairs):
        ids = rng.integers(0, VOCAB_SIZE, length).astype(np.int32)
        pairs.append(TokenizedPair(ids, np.zeros_like(ids)))
    return pairs


def measure(
    tensors: dict[str, NDArray[np.float32]], sample: list[TokenizedPair], texts: list[TokenizedPair]
) -> dict[str, Any]:
    """Errors of the layers on `sample`, and of the scores of `texts` with and without them kept."""
    weights = Weights(dict(tensors), SPEC.norm_eps, SPEC.norm_centred)
    errors = layer_errors(SPEC, weights, sample)
    kept = [index for index, error in enumerate(errors) if error > LARGEST_ERROR]
    exact = _logits(weights, texts)
    return {
        "layer_errors": [round(float(error), 4) for error in errors],
        "kept_layers": kept,
        "int8_error": _error(exact, _logits(quantize_weights(weights, SPEC), texts)),
        "int8_with_kept_error": _error(
            exact, _logits(quantize_weights(weights, SPEC, kept), texts)
        ),
    }


def _logits(weights: Weights, pairs: list[TokenizedPair]) -> NDArray[np.float32]:
    return CpuBackend(Encoder(SPEC, weights)).forward(pack(pairs, SPEC))[:, 0]


def _error(exact: NDArray[np.float32], rounded: NDArray[np.float32]) -> float:
    """Root mean square of the difference, in standard deviations of the exact scores."""
    return round(float(np.sqrt(np.square(rounded - exact).mean()) / exact.std()), 4)


def main() -> None:
    """Measure, print a table, write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sensitive_layers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    sample, texts = random_pairs(1, 16), random_pairs(2, 200)
    rows = {}
    for name, tensors in models(options.seed):
        row = rows[name] = measure(tensors, sample, texts)
        print(
            f"{name:36} worst layer {max(row['layer_errors']):6.3f}  scores off by "
            f"{row['int8_error']:.3f} in int8, {row['int8_with_kept_error']:.3f} with layers "
            f"{row['kept_layers']} in fp32"
        )
    if options.json:
        report = {
            "machine": describe_machine(),
            "versions": describe_versions(),
            "git_commit": git_commit(),
            "seed": options.seed,
            "largest_error": LARGEST_ERROR,
            "models": rows,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
