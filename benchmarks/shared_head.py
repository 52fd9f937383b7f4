"""What an encoder saves where a query's tokens are computed once for all of its documents.

    python -m benchmarks.shared_head --threads 2 --json result.json

Two ways are measured on zen-mini's shape, with tokens at random. Query-independent: the whole depth
of the query's tokens is shared, `prefix_cache_mb` on against off. Ordinary: a query's tokens see
the document from the first attention on, so that only what comes before it could be shared, exactly
or not at all; the time that this takes, times the query's part of the tokens, is the most that
sharing it could save.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.backends.cpu import CpuBackend
from zen_fast.batching import TokenizedPair
from zen_fast.checkpoint import load_checkpoint
from zen_fast.encoder import Encoder
from zen_fast.engine import Engine
from zen_fast.machine import describe_machine, describe_versions, git_commit
from zen_fast.placement import TOKENS_PER_THREAD
from zen_fast.quantization import at_precision

CACHE_BYTES = 64_000_000


def random_pairs(
    rng: np.random.Generator, query_tokens: int, document_tokens: int, num_documents: int
) -> list[TokenizedPair]:
    """One query before documents of `document_tokens` on average, half of that at least."""
    query = rng.integers(200, 14_000, query_tokens)
    pairs = []
    for length in rng.integers(document_tokens // 2, document_tokens * 3 // 2, num_documents):
        ids = np.concatenate((query, rng.integers(200, 14_000, length))).astype(np.int32)
        types = (np.arange(len(ids)) >= query_tokens).astype(np.int32)
        pairs.append(TokenizedPair(ids, types, query_tokens))
    return pairs


class Measurement:
    """zen-mini at one precision: the ordinary encoder, and the query-independent one."""

    def __init__(self, precision: str, num_threads: int) -> None:
        checkpoint = load_checkpoint("zen-mini")
        weights = at_precision(checkpoint.weights, checkpoint.spec, precision)
        ordinary = checkpoint.spec
        independent = replace(
            ordinary, query_independent=True, head=replace(ordinary.head, pooling="last")
        )
        self._backends = {
            name: CpuBackend(Encoder(spec, weights), num_threads)
            for name, spec in (("ordinary", ordinary), ("independent", independent))
        }
        tokenizer: Any = _NoTokenizer()
        budget = TOKENS_PER_THREAD * num_threads
        self._engines = {
            "ordinary": Engine(self._backends["ordinary"], tokenizer, ordinary, budget),
            "alone": Engine(self._backends["independent"], tokenizer, independent, budget),
            "shared": Engine(
                self._backends["independent"], tokenizer, independent, budget, CACHE_BYTES
            ),
        }
        self.seconds: dict[str, list[float]] = {name: [] for name in self._engines}

    def score(self, pairs: list[TokenizedPair], is_timed: bool) -> None:
        """Score `pairs` each way; sharing must not change a bit."""
        logits: dict[str, NDArray[np.float32]] = {}
        for name, engine in self._engines.items():
            begin = time.perf_counter()
            logits[name] = engine.run(pairs)
            if is_timed:
                self.seconds[name].append(time.perf_counter() - begin)
        np.testing.assert_array_equal(logits["shared"], logits["alone"])

    def share_before_attention(self) -> float:
        """Part of the ordinary encoder's time that passes before its first attention."""
        seconds = self._backends["ordinary"].seconds_by_op()
        first = next(i for i, (name, _) in enumerate(seconds) if name.startswith("attention"))
        return sum(each for _, each in seconds[:first]) / sum(each for _, each in seconds)


class _NoTokenizer:
    max_token_type = 1


def main() -> None:
    """Measure, print, write the report."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.shared_head",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--threads", type=int, default=2, metavar="N")
    parser.add_argument("--query-tokens", type=int, default=64, metavar="N")
    parser.add_argument("--document-tokens", type=int, default=75, metavar="N")
    parser.add_argument("--documents", type=int, default=100, metavar="N")
    parser.add_argument("--queries", type=int, default=9, metavar="N", help="timed ones")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    measurements = {name: Measurement(name, options.threads) for name in ("fp32", "int8")}
    for query in range(options.queries + 1):
        pairs = random_pairs(rng, options.query_tokens, options.document_tokens, options.documents)
        for measurement in measurements.values():
            measurement.score(pairs, is_timed=query > 0)
    head_share = options.query_tokens / (options.query_tokens + options.document_tokens)
    rows = {}
    for name, measurement in measurements.items():
        medians = {way: statistics.median(each) for way, each in measurement.seconds.items()}
        ceiling = head_share * measurement.share_before_attention()
        rows[name] = {
            "median_ms": {way: round(1e3 * each, 1) for way, each in medians.items()},
            "saved_percent": round(100 * (1 - medians["shared"] / medians["alone"]), 1),
            "ordinary_could_save_percent": round(100 * ceiling, 2),
        }
        print(f"{name}: {rows[name]}")
    if options.json:
        report = {
            "options": {key: value for key, value in vars(options).items() if key != "json"},
            "machine": describe_machine(),
            "versions": describe_versions(),
            "git_commit": git_commit(),
            "precisions": rows,
        }
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
