"""What sharing a query's prefix brings: a language model of random weights, against stock.

    python -m benchmarks.shared_prefix --layers 28 --threads 2 --json result.json

Each query is new: its 60 tokens of instruction were seen before, its own 30 were not. Ways to score
answer each query in turn, so that a drift of the machine falls on all of them; tokenization is left
out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from zen_fast.backends.cpu import CpuBackend
from zen_fast.batching import TokenizedPair
from zen_fast.checkpoint import Checkpoint, load_checkpoint
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.machine import describe_machine, describe_versions, git_commit
from zen_fast.placement import TOKENS_PER_THREAD
from zen_fast.quantization import at_precision

VOCAB_SIZE = 8192
INSTRUCTION_TOKENS, QUERY_TOKENS, DOCUMENT_TOKENS = 60, 30, 75
PREFIX_CACHE_BYTES = 256_000_000

Score = Callable[[Sequence[str], Sequence[str]], NDArray[np.float32]]


class RandomTexts:
    """A tokenizer of numbers: each stands for a text of random tokens."""

    max_token_type = 0

    def encode_pairs(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None = None
    ) -> list[TokenizedPair]:
        """Instruction, query and document end to end."""
        pairs = []
        for query, document in zip(queries, documents, strict=True):
            ids = np.concatenate(
                (
                    _tokens(0, INSTRUCTION_TOKENS),
                    _tokens(1 + int(query), QUERY_TOKENS),
                    _tokens(1_000_000 + int(document), DOCUMENT_TOKENS),
                )
            )
            pairs.append(TokenizedPair(ids, np.zeros_like(ids)))
        return pairs


def _tokens(seed: int, count: int) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(1, VOCAB_SIZE, count).astype(np.int32)


def stock_model(num_layers: int) -> Any:
    """A classifier of Qwen3-0.6B's shape, but for the vocabulary and perhaps the depth."""
    config = transformers.Qwen3Config(
        vocab_size=VOCAB_SIZE,
        hidden_size=1024,
        num_hidden_layers=num_layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        intermediate_size=3072,
        max_position_embeddings=4096,
        num_labels=1,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.Qwen3ForSequenceClassification(config).eval()
    torch.nn.init.normal_(model.score.weight)
    return model


def ways_to_score(num_layers: int, num_threads: int) -> tuple[dict[str, Score], list[Engine]]:
    """Name → function of queries and documents; and the engines that share prefixes."""
    torch.set_num_threads(num_threads)
    stock, texts = stock_model(num_layers), RandomTexts()

    def score_stock(queries: Sequence[str], documents: Sequence[str]) -> NDArray[np.float32]:
        ids = np.stack([pair.token_ids for pair in texts.encode_pairs(queries, documents)])
        with torch.inference_mode():
            logits: NDArray[np.float32] = stock(torch.from_numpy(ids).long()).logits.numpy()
        return logits

    with tempfile.TemporaryDirectory() as folder:
        stock.save_pretrained(folder)
        checkpoint = load_checkpoint(folder)
        ways: dict[str, Score] = {"transformers fp32": score_stock}
        sharing = []
        for precision in ("fp32", "int8"):
            backend = _backend(checkpoint, precision, num_threads)
            for name, cache_bytes in (("alone", 0), ("shared", PREFIX_CACHE_BYTES)):
                tokenizer: Any = texts
                budget = TOKENS_PER_THREAD * num_threads
                engine = Engine(backend, tokenizer, checkpoint.spec, budget, cache_bytes)
                ways[f"zen {precision}, prefix {name}"] = engine.logits
                sharing += [engine] if cache_bytes else []
    return ways, sharing


def _backend(checkpoint: Checkpoint, precision: str, num_threads: int) -> CpuBackend:
    weights = at_precision(checkpoint.weights, checkpoint.spec, precision)
    return CpuBackend(Encoder(checkpoint.spec, weights), num_threads)


def measure(
    ways: dict[str, Score], num_documents: int, num_queries: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each query but the first, and the largest |Δlogit| over the stock's spread."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    errors = dict.fromkeys(ways, 0.0)
    documents = [str(index) for index in range(num_documents)]
    for query in range(num_queries + 1):
        expected: NDArray[np.float32] | None = None
        for name, score in ways.items():
            begin = time.perf_counter()
            logits = score([str(query)] * num_documents, documents)
            if query > 0:
                seconds[name].append(time.perf_counter() - begin)
            expected = logits if expected is None else expected
            error = float(np.abs(logits - expected).max() / expected.std())
            errors[name] = max(errors[name], error)
    return seconds, errors


def main() -> None:
    """Measure, print a table, write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shared_prefix", description=__doc__)
    parser.add_argument("--layers", type=int, default=8, metavar="N")
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--documents", type=int, default=20, metavar="N")
    parser.add_argument("--queries", type=int, default=5, metavar="N", help="timed ones")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    ways, sharing = ways_to_score(options.layers, options.threads)
    seconds, errors = measure(ways, options.documents, options.queries)
    for name, each in seconds.items():
        print(f"{name:28} {statistics.median(each):7.2f} s per query   |Δ| {errors[name]:.1e}")
    used = [engine.prefix_cache_statistics().used_bytes for engine in sharing]
    print(f"prefixes kept: {max(used) / 1e6:.0f} MB of {PREFIX_CACHE_BYTES / 1e6:.0f}")
    if options.json is not None:
        report = {
            "settings": {key: each for key, each in vars(options).items() if key != "json"},
            "machine": describe_machine(),
            "versions": describe_versions(),
            "commit": git_commit(),
            "seconds": seconds,
            "max_difference_per_spread": errors,
            "prefix_cache_used_bytes": used,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
