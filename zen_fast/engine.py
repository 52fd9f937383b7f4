"""The pipeline from texts to logits: tokenize, schedule, pack, run, restore the input order."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zen_fast.backends import Backend
from zen_fast.batching import pack, schedule
from zen_fast.errors import UnsupportedModelError
from zen_fast.progress import ProgressBar
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer

WINDOW_PAIRS = 4096
"""Pairs tokenized ahead of the forward pass: enough to sort by length, little to hold."""


class Engine:
    """Scores pairs of texts with one model; safe under threads.

    Args:
        backend: the encoder, ready to run.
        tokenizer: makes pairs of ids for it.
        spec: the encoder's spec.
        token_budget: tokens in one packed batch.

    Raises:
        UnsupportedModelError: the tokenizer's token types are beyond the encoder's table.
    """

    def __init__(
        self, backend: Backend, tokenizer: PairTokenizer, spec: EncoderSpec, token_budget: int
    ) -> None:
        max_type = tokenizer.layout.max_token_type
        if spec.num_token_types and max_type >= spec.num_token_types:
            raise UnsupportedModelError(
                f"the tokenizer gives token type {max_type}, but the model knows only "
                f"{spec.num_token_types}; tokenizer and weights are not of one checkpoint"
            )
        self.backend = backend
        self.tokenizer = tokenizer
        self.spec = spec
        self.token_budget = token_budget
        self._lock = threading.Lock()
        self._tokenize_seconds = 0.0

    def logits(
        self, queries: Sequence[str], documents: Sequence[str], show_progress: bool | None = None
    ) -> NDArray[np.float32]:
        """Logits of each pair (queries[i], documents[i]), (num_pairs, num_labels) fp32.

        Raises:
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
        for batch in schedule([len(pair) for pair in pairs], self.token_budget):
            packed = pack([pairs[index] for index in batch], self.spec)
            largest_id = int(packed.token_ids.max())
            if largest_id >= self.spec.vocab_size:
                raise UnsupportedModelError(
                    f"the tokenizer gives token id {largest_id}, but the model's embeddings end at "
                    f"{self.spec.vocab_size}; tokenizer and weights are not of one checkpoint"
                )
            logits[batch] = self.backend.forward(packed)
            progress.advance(len(batch))

    def seconds_by_op(self) -> dict[str, float]:
        """Seconds spent so far, by op: "tokenize", then the forward pass's by name and widths."""
        seconds = {"tokenize": self._tokenize_seconds}
        for name, each in self.backend.seconds_by_op():
            seconds[name] = seconds.get(name, 0.0) + each
        return seconds
