"""From tokenized pairs to packed batches: sort by length, cut by token budget, lay flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zen_fast.spec import EncoderSpec

Int32Array = NDArray[np.int32]


@dataclass(frozen=True)
class TokenizedPair:
    """One (query, document) pair as the model reads it, special tokens included."""

    token_ids: Int32Array
    """(length,) int32"""
    token_type_ids: Int32Array
    """(length,) int32"""
    num_head_tokens: int = 0
    """Tokens before the document's first, the query among them; 0 where that is not known."""

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True)
class PackedBatch:
    """Sequences laid end to end, without padding."""

    token_ids: Int32Array
    """(num_tokens,) int32"""
    token_type_ids: Int32Array
    """(num_tokens,) int32"""
    position_ids: Int32Array
    """(num_tokens,) int32, the row of the position table for each token"""
    cu_seqlens: Int32Array
    """(num_sequences + 1,) int32, first token of each sequence, then num_tokens"""

    @property
    def num_tokens(self) -> int:
        return len(self.token_ids)

    @property
    def num_sequences(self) -> int:
        return len(self.cu_seqlens) - 1


def schedule(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Cut pair indices, longest pair first, into batches of at most `token_budget` tokens.

    A pair longer than the budget is a batch of its own. Ties keep their input order, so that the
    same input is always scheduled the same way.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    room = 0
    for index in order:
        if not batches or lengths[index] > room:
            batches.append([])
            room = token_budget
        batches[-1].append(index)
        room -= lengths[index]
    return batches


def pack(pairs: Sequence[TokenizedPair], spec: EncoderSpec) -> PackedBatch:
    """Lay `pairs` end to end with the position ids that `spec` gives them."""
    lengths = np.fromiter((len(pair) for pair in pairs), dtype=np.int32, count=len(pairs))
    cu_seqlens = np.zeros(len(pairs) + 1, dtype=np.int32)
    np.cumsum(lengths, out=cu_seqlens[1:])
    token_ids = np.concatenate([pair.token_ids for pair in pairs])
    return PackedBatch(
        token_ids=token_ids,
        token_type_ids=np.concatenate([pair.token_type_ids for pair in pairs]),
        position_ids=_position_ids(token_ids, cu_seqlens, spec),
        cu_seqlens=cu_seqlens,
    )


def _position_ids(token_ids: Int32Array, cu_seqlens: Int32Array, spec: EncoderSpec) -> Int32Array:
    starts = np.repeat(cu_seqlens[:-1], np.diff(cu_seqlens))
    if spec.padding_id is None:
        index = np.arange(len(token_ids), dtype=np.int32) - starts
        return (index + spec.position_offset).astype(np.int32)
    # RoBERTa counts tokens other than <pad>; a document may spell that token out.
    counted = token_ids != spec.padding_id
    count = np.concatenate(([0], np.cumsum(counted)))
    position: Int32Array = (count[1:] - count[starts]) * counted + spec.padding_id
    return position.astype(np.int32)
