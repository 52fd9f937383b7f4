"""A packed batch as one block of integers, at a size that many batches share.

A GPU replays a captured graph only at the sizes it was captured with. Batches are therefore laid
into blocks of few sizes: what is beyond their end is marked as nobody's, and no kernel's result for
a real row depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import Int32Array, PackedBatch, Prefix

NOBODY = -1
"""Sequence of what is beyond the batch's end."""


@dataclass(frozen=True)
class BatchSize:
    """What a captured graph is made for."""

    num_tokens: int
    num_sequences: int
    num_query_blocks: int
    num_prefixes: int = 0
    """Of all lengths, one of length 0 among them; 0 where no sequence continues one."""
    num_prefix_tokens: int = 0

    @classmethod
    def of(cls, batch: PackedBatch, query_block: int) -> BatchSize:
        """The smallest shared size that holds `batch`, at most an eighth larger."""
        num_query_blocks = int((-(-np.diff(batch.cu_seqlens) // query_block)).sum())
        num_tokens = _round_up(batch.num_tokens, 64)
        num_sequences = _round_up(batch.num_sequences, 8)
        if num_sequences == num_tokens:
            num_sequences += 8  # the rows of a matrix tell what it has a row for
        prefixes, _ = distinct_prefixes(batch)
        return cls(
            num_tokens,
            num_sequences,
            _round_up(num_query_blocks, 8),
            _round_up(len(prefixes) + 1, 8) if prefixes else 0,
            _round_up(sum(map(len, prefixes)), 64) if prefixes else 0,
        )

    @property
    def num_integers(self) -> int:
        """Length of the block."""
        return int(max(part.stop for part in self._parts.values()))

    @cached_property
    def _parts(self) -> dict[str, slice]:
        lengths = {
            "token": self.num_tokens,
            "token_type": self.num_tokens,
            "position": self.num_tokens,
            "place": self.num_tokens,
            "sequence_of_row": self.num_tokens,
            "cu_seqlens": self.num_sequences + 1,
            "head_lengths": self.num_sequences,
            "query_blocks": 2 * self.num_query_blocks,
            "first_rows": 2 * self.num_sequences,
            "prefix_of_sequence": self.num_sequences if self.num_prefixes else 0,
            "prefix_cu_seqlens": self.num_prefixes + 1 if self.num_prefixes else 0,
        }
        ends = accumulate(lengths.values())
        return {
            name: slice(end - length, end)
            for (name, length), end in zip(lengths.items(), ends, strict=True)
        }

    def part(self, name: str) -> slice:
        """Where a part of the block lies.

        token, token_type, position: (num_tokens,) ids; place: (num_tokens,) of a token in its
        sequence, the prefix counted; sequence_of_row: (num_tokens,); cu_seqlens:
        (num_sequences + 1,); head_lengths: (num_sequences,); query_blocks: (num_query_blocks, 2)
        sequence and first row of each block of query rows; first_rows: (num_sequences, 2) the same
        for queries with one row per sequence; prefix_of_sequence: (num_sequences,);
        prefix_cu_seqlens: (num_prefixes + 1,).
        """
        return self._parts[name]


def lay_out(batch: PackedBatch, size: BatchSize, query_block: int, block: Int32Array) -> None:
    """Write `batch` into `block`, (size.num_integers,) int32."""
    num_tokens, num_sequences = batch.num_tokens, batch.num_sequences
    lengths = np.diff(batch.cu_seqlens)
    sequences = np.arange(num_sequences, dtype=np.int32)
    sequence_of_row = np.repeat(sequences, lengths)
    place = np.arange(num_tokens, dtype=np.int32) - np.repeat(batch.cu_seqlens[:-1], lengths)

    def fill(name: str, values: NDArray[np.int32], rest: int) -> None:
        part = block[size.part(name)]
        part[: values.size] = values.ravel()
        part[values.size :] = rest

    fill("token", batch.token_ids, 0)
    fill("token_type", batch.token_type_ids, 0)
    fill("position", batch.position_ids, 0)
    if size.num_prefixes:
        prefixes, prefix_of_sequence = distinct_prefixes(batch)
        prefix_lengths = np.array([*map(len, prefixes), 0], dtype=np.int32)
        place += np.repeat(prefix_lengths[prefix_of_sequence], lengths)
        ends = np.cumsum(prefix_lengths, dtype=np.int32)
        fill("prefix_of_sequence", prefix_of_sequence, len(prefixes))
        fill("prefix_cu_seqlens", np.concatenate((np.zeros(1, np.int32), ends)), int(ends[-1]))
    fill("place", place, 0)
    fill("sequence_of_row", sequence_of_row, NOBODY)
    fill("head_lengths", batch.head_lengths, 0)
    fill("cu_seqlens", batch.cu_seqlens, num_tokens)
    num_blocks = -(-lengths // query_block)
    blocks = np.empty((int(num_blocks.sum()), 2), dtype=np.int32)
    blocks[:, 0] = np.repeat(sequences, num_blocks)
    first_block = np.cumsum(num_blocks) - num_blocks
    blocks[:, 1] = (np.arange(len(blocks)) - np.repeat(first_block, num_blocks)) * query_block
    fill("query_blocks", blocks, NOBODY)
    first_rows = np.zeros((num_sequences, 2), dtype=np.int32)
    first_rows[:, 0] = sequences
    fill("first_rows", first_rows, NOBODY)


def distinct_prefixes(batch: PackedBatch) -> tuple[list[Prefix], Int32Array]:
    """The batch's prefixes, each once, and which of them each sequence continues.

    (num_sequences,) int32; a sequence that continues none has the number after the last.
    """
    places: dict[int, int] = {}
    prefixes: list[Prefix] = []
    for prefix in batch.prefixes:
        if prefix is not None and id(prefix) not in places:
            places[id(prefix)] = len(prefixes)
            prefixes.append(prefix)
    of_sequence = [places.get(id(prefix), len(prefixes)) for prefix in batch.prefixes]
    return prefixes, np.array(of_sequence, dtype=np.int32)


def _round_up(count: int, step: int) -> int:
    """To a multiple of `step`, or of an eighth of the power of two below where that is more."""
    step = max(step, (1 << (count.bit_length() - 1)) // 8)
    return -(-count // step) * step
