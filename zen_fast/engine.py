"""The pipeline from texts to logits: tokenize, schedule, pack, run, restore the input order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from zen_fast.backends import Backend, PausingBackend, PrefixingBackend
from zen_fast.batching import PackedBatch, Prefix, TokenizedPair, pack, read_part, schedule
from zen_fast.encoded import EncodedPairs, PairScores, windowed
from zen_fast.errors import OutOfDeviceMemoryError, UnsupportedModelError
from zen_fast.fork_safety import renew_in_children
from zen_fast.pausing import PausedPairs
from zen_fast.prefix_cache import PrefixCache, PrefixCacheStatistics
from zen_fast.progress import ProgressBar
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer, PromptTokenizer

logger = logging.getLogger(__name__)

PAIRS_AHEAD = 4096
"""Pairs tokenized ahead of the forward pass: enough to sort by length, little to hold."""


class Engine:
    """Scores pairs of texts with one model; safe under threads and, on the CPU, across forks.

    Args:
        backend: the encoder, ready to run.
        tokenizer: makes pairs, or prompts, of ids for it.
        spec: the encoder's spec.
        token_budget: tokens in one packed batch; halved once if a batch runs out of memory.
        prefix_cache_bytes: memory for what sequences begin with, where the encoder is causal or
            query-independent, and the backend shares prefixes.

    Raises:
        UnsupportedModelError: the tokenizer's token types are beyond the encoder's table.
    """

    def __init__(
        self,
        backend: Backend,
        tokenizer: PairTokenizer | PromptTokenizer,
        spec: EncoderSpec,
        token_budget: int,
        prefix_cache_bytes: int = 0,
    ) -> None:
        max_type = tokenizer.max_token_type
        if spec.num_token_types and max_type >= spec.num_token_types:
            raise UnsupportedModelError(
                f"the tokenizer gives token type {max_type}, but the model knows only "
                f"{spec.num_token_types}; tokenizer and weights are not of one checkpoint"
            )
        self.backend = backend
        self.tokenizer = tokenizer
        self.spec = spec
        self.token_budget = token_budget
        self._full_budget = token_budget
        self._lock = threading.Lock()
        renew_in_children(self)
        self._tokenize_seconds = 0.0
        has_prefixes = spec.causal or spec.query_independent
        self._prefix_cache = PrefixCache(
            prefix_cache_bytes if has_prefixes and isinstance(backend, PrefixingBackend) else 0,
            bytes_per_token=np.dtype(np.float32).itemsize * spec.floats_kept_per_token,
            record=self._keys_values,
            whole_heads=spec.query_independent,
        )

    def logits(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        show_progress: bool | None = None,
        instruction: str | None = None,
    ) -> NDArray[np.float32]:
        """Logits of each pair (queries[i], documents[i]), (num_pairs, num_labels) fp32.

        Raises:
            InvalidArgumentError: the model takes no `instruction`, or needs one.
            OutOfDeviceMemoryError: a batch of half the token budget does not fit, either.
            UnsupportedModelError: a text has a token that is beyond the encoder's table.
        """
        return self.scores(queries, documents, show_progress, instruction).logits

    def scores(
        self,
        queries: Sequence[str],
        documents: Sequence[str],
        show_progress: bool | None = None,
        instruction: str | None = None,
    ) -> PairScores:
        """`logits`, and the window that each of them is of where long documents are windowed."""
        scores = PairScores.empty(len(queries), self.spec.head.num_labels, self.has_windows)
        with ProgressBar(len(queries), show_progress) as progress:
            for start in range(0, len(queries), PAIRS_AHEAD):
                part = slice(start, start + PAIRS_AHEAD)
                encoded = self.encode(queries[part], documents[part], instruction)
                if encoded.first_window is None:
                    scores.put(part, encoded.scores(self.run(encoded.sequences, progress.advance)))
                else:
                    scores.put(part, encoded.scores(self.run(encoded.sequences)))
                    progress.advance(encoded.num_pairs)
        return scores

    @property
    def has_windows(self) -> bool:
        """Whether a long document is read in several windows."""
        return isinstance(self.tokenizer, PairTokenizer) and self.tokenizer.windows is not None

    def encode(
        self, queries: Sequence[str], documents: Sequence[str], instruction: str | None = None
    ) -> EncodedPairs:
        """Each pair (queries[i], documents[i]) as the model reads it."""
        start = time.perf_counter()
        tokenizer = self.tokenizer
        if isinstance(tokenizer, PairTokenizer) and tokenizer.windows is not None:
            encoded = windowed(tokenizer.encode_windows(queries, documents, instruction))
        else:
            encoded = EncodedPairs(tokenizer.encode_pairs(queries, documents, instruction))
        with self._lock:
            self._tokenize_seconds += time.perf_counter() - start
        return replace(
            encoded, sequences=[read_part(each, self.spec) for each in encoded.sequences]
        )

    def run(
        self,
        pairs: Sequence[TokenizedPair],
        advance: Callable[[int], object] = lambda num_pairs: None,
    ) -> NDArray[np.float32]:
        """Logits of each sequence; `advance` hears how many each batch had."""
        logits = np.empty((len(pairs), self.spec.head.num_labels), dtype=np.float32)
        for group in self._prefix_cache.groups(pairs):
            waiting = group.indices
            while waiting:
                waiting = self._score(pairs, group.prefixes, waiting, logits, advance)
        return logits

    @property
    def can_pause(self) -> bool:
        """Whether `pause` works: the backend stops where it is told, and there is a layer to."""
        return isinstance(self.backend, PausingBackend) and self.spec.num_layers > 1

    def pause(self, pairs: Sequence[TokenizedPair], num_layers: int) -> PausedPairs:
        """Take `pairs` through the first `num_layers` layers, which are not all."""
        assert isinstance(self.backend, PausingBackend)
        batches = schedule([len(pair) for pair in pairs], self.token_budget)
        return PausedPairs(
            self.backend, pairs, batches, self._pack, num_layers, self.spec.head.pooling
        )

    def _score(
        self,
        pairs: Sequence[TokenizedPair],
        prefixes: Mapping[int, Prefix],
        waiting: Sequence[int],
        logits: NDArray[np.float32],
        advance: Callable[[int], object],
    ) -> list[int]:
        """Score the pairs of these indices; those left over where memory ran out."""
        budget = self.token_budget
        left = set(waiting)
        lengths = [len(pairs[index]) - len(prefixes.get(index, ())) for index in waiting]
        for batch in schedule(lengths, budget):
            chosen = [waiting[each] for each in batch]
            try:
                logits[chosen] = self.backend.forward(self._pack(pairs, chosen, prefixes))
            except OutOfDeviceMemoryError as error:
                self._halve_budget(budget, error)
                break
            left.difference_update(chosen)
            advance(len(chosen))
        return sorted(left)

    def _keys_values(self, tokens: TokenizedPair, known: Prefix | None) -> NDArray[np.float32]:
        assert isinstance(self.backend, PrefixingBackend)  # else the cache has no capacity
        prefixes = {} if known is None else {0: known}
        return self.backend.keys_values(self._pack([tokens], [0], prefixes))[0]

    def _pack(
        self,
        pairs: Sequence[TokenizedPair],
        chosen: Sequence[int],
        prefixes: Mapping[int, Prefix] = MappingProxyType({}),
    ) -> PackedBatch:
        known = [prefixes.get(index) for index in chosen]
        packed = pack([pairs[index] for index in chosen], self.spec, known)
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

    def _start_anew(self) -> None:
        self._lock = threading.Lock()

    def prefix_cache_statistics(self) -> PrefixCacheStatistics:
        """Tokens computed and saved, and size, of what sequences begin with."""
        return self._prefix_cache.statistics()

    def seconds_by_op(self) -> dict[str, float]:
        """Seconds spent so far, by op: "tokenize", then the forward pass's by name and widths."""
        seconds = {"tokenize": self._tokenize_seconds}
        for name, each in self.backend.seconds_by_op():
            seconds[name] = seconds.get(name, 0.0) + each
        return seconds
