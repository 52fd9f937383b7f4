"""The pipeline from texts to logits: tokenize, schedule, pack, run, restore the input order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from zen_fast.backends import Backend, PrefixingBackend
from zen_fast.batching import PackedBatch, Prefix, TokenizedPair, pack, read_part, schedule
from zen_fast.errors import OutOfDeviceMemoryError, UnsupportedModelError
from zen_fast.prefix_cache import PrefixCache, PrefixCacheStatistics
from zen_fast.progress import ProgressBar
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer

logger = logging.getLogger(__name__)

WINDOW_PAIRS = 4096
"""Pairs tokenized ahead of the forward pass: enough to sort by length, little to hold."""


class Engine:
    """Scores pairs of texts with one model; safe under threads.

    Args:
        backend: the encoder, ready to run.
        tokenizer: makes pairs of ids for it.
        spec: the encoder's spec.
        token_budget: tokens in one packed batch; halved once if a batch runs out of memory.
        prefix_cache_bytes: memory for what pairs begin with, where the encoder is causal and the
            backend shares prefixes.

    Raises:
        UnsupportedModelError: the tokenizer's token types are beyond the encoder's table.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: PairTokenizer,
        spec: EncoderSpec,
        token_budget: int,
        prefix_cache_bytes: int = 0,
    ) -> None:
        if spec.num_token_types:
            _require_known_types(tokenizer, spec)
        self.backend = backend
        self.tokenizer = tokenizer
        self.spec = spec
        self.token_budget = token_budget
        self._full_budget = token_budget
        self._lock = threading.Lock()
        self._tokenize_seconds = 0.0
        self._prefix_cache = PrefixCache(
            prefix_cache_bytes if spec.causal and isinstance(backend, PrefixingBackend) else 0,
            bytes_per_token=np.dtype(np.float32).itemsize * spec.floats_kept_per_token,
            record=self._keys_values,
        )

    def logits(
        self, queries: Sequence[str], documents: Sequence[str], show_progress: bool | None = None
    ) -> NDArray[np.float32]:
        """Logits of each pair (queries[i], documents[i]), (num_pairs, num_labels) fp32.

        Raises:
            OutOfDeviceMemoryError: a batch of half the token budget does not fit, either.
            UnsupportedModelError: a text has a token that is beyond the encoder's table.
        """
        logits = np.empty((len(queries), self.spec.head.num_labels), dtype=np.float32)
        with ProgressBar(len(queries), show_progress) as progress:
            for start in range(0, len(queries), WINDOW_PAIRS):
                window = slice(start, start + WINDOW_PAIRS)
                self._score_window(queries[window], documents[window], logits[window], progress)
        return logits

    def _score_window(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        logits: NDArray[np.float32],
        progress: ProgressBar,
    ) -> None:
        start = time.perf_counter()
        pairs = self.tokenizer.encode_pairs(queries, documents)
        with self._lock:
            self._tokenize_seconds += time.perf_counter() - start
        pairs = [read_part(pair, self.spec) for pair in pairs]
        for group in self._prefix_cache.groups(queries, pairs):
            waiting = group.indices
            while waiting:
                waiting = self._score(pairs, group.prefixes, waiting, logits, progress)

    def _score(
        self,
        pairs: Sequence[TokenizedPair],
        prefixes: Mapping[int, Prefix],
        waiting: Sequence[int],
        logits: NDArray[np.float32],
        progress: ProgressBar,
    ) -> list[int]:
        """Score the pairs of these indices; those left over where memory ran out."""
        budget = self.token_budget
        left = set(waiting)
        lengths = [len(pairs[index]) - len(prefixes.get(index, ())) for index in waiting]
        for batch in schedule(lengths, budget):
            chosen = [waiting[each] for each in batch]
            packed = self._pack(
                [pairs[index] for index in chosen], [prefixes.get(index) for index in chosen]
            )
            try:
                logits[chosen] = self.backend.forward(packed)
            except OutOfDeviceMemoryError as error:
                self._halve_budget(budget, error)
                break
            left.difference_update(chosen)
            progress.advance(len(chosen))
        return sorted(left)

    def _keys_values(self, pair: TokenizedPair, prefix: Prefix | None) -> NDArray[np.float32]:
        assert isinstance(self.backend, PrefixingBackend)  # else the cache has no capacity
        return self.backend.keys_values(self._pack([pair], [prefix]))[0]

    def _pack(
        self, pairs: Sequence[TokenizedPair], prefixes: Sequence[Prefix | None]
    ) -> PackedBatch:
        packed = pack(pairs, self.spec, prefixes)
        largest_id = int(packed.token_ids.max())
        if largest_id >= self.spec.vocab_size:
            raise UnsupportedModelError(
                f"the tokenizer gives token id {largest_id}, but the model's embeddings end at "
                f"{self.spec.vocab_size}; tokenizer and weights are not of one checkpoint"
            )
        return packed

    def _halve_budget(self, failed_budget: int, error: OutOfDeviceMemoryError) -> None:
        """Once; a batch that another thread's halving has overtaken is only tried again."""
        with self._lock:
            if self.token_budget < failed_budget:
                return
            if self.token_budget < self._full_budget:
                raise error
            self.token_budget //= 2
        logger.warning("%s; batches have at most %d tokens from now on", error, self.token_budget)

    def prefix_cache_statistics(self) -> PrefixCacheStatistics:
        """Tokens computed and saved, and size, of what pairs begin with."""
        return self._prefix_cache.statistics()

    def seconds_by_op(self) -> dict[str, float]:
        """Seconds spent so far, by op: "tokenize", then the forward pass's by name and widths."""
        seconds = {"tokenize": self._tokenize_seconds}
        for name, each in self.backend.seconds_by_op():
            seconds[name] = seconds.get(name, 0.0) + each
        return seconds


def _require_known_types(tokenizer: PairTokenizer, spec: EncoderSpec) -> None:
    max_type = tokenizer.layout.max_token_type
    if max_type >= spec.num_token_types:
        raise UnsupportedModelError(
            f"the tokenizer gives token type {max_type}, but the model knows only "
            f"{spec.num_token_types}; tokenizer and weights are not of one checkpoint"
        )
