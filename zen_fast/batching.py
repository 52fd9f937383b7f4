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

    def part(self, tokens: slice) -> TokenizedPair:
        """Some adjacent tokens of the pair."""
        start, stop, _ = tokens.indices(len(self))
        num_head_tokens = min(max(self.num_head_tokens - start, 0), stop - start)
        return TokenizedPair(self.token_ids[tokens], self.token_type_ids[tokens], num_head_tokens)


@dataclass(frozen=True)
class Prefix:
    """What a model makes of tokens that sequences begin with: all that later tokens read of them.

    Of a causal model's any, of a query-independent one's those before the document.
    """

    token_ids: Int32Array
    """(length,) int32"""
    keys_values: NDArray[np.float32]
    """(length, num_layers * 2 * key_width) fp32: of each token, layer by layer, its turned key and
    its value"""

    def __len__(self) -> int:
        return len(self.token_ids)

    def part(self, length: int) -> Prefix:
        """The prefix of the first `length` tokens, in the same memory."""
        return Prefix(self.token_ids[:length], self.keys_values[:length])


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
    head_lengths: Int32Array
    """(num_sequences,) int32, tokens before each sequence's document; 0 where a prefix holds them,
    or it is not known"""
    prefixes: tuple[Prefix | None, ...] = ()
    """(num_sequences,) what each sequence continues; () where none does. Its tokens are not among
    the batch's, and positions go on after it."""

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


def pack(
    pairs: Sequence[TokenizedPair], spec: EncoderSpec, prefixes: Sequence[Prefix | None] = ()
) -> PackedBatch:
    """Lay `pairs` end to end with the position ids that `spec` gives them.

    Args:
        prefixes: what is already computed of each pair's beginning, and left out here; () for
            nothing of any.
    """
    starts = np.zeros(len(pairs), dtype=np.int32)
    if any(prefixes):
        starts[:] = [0 if prefix is None else len(prefix) for prefix in prefixes]
        pairs = [pair.part(slice(start, None)) for pair, start in zip(pairs, starts, strict=True)]
    lengths = np.fromiter((len(pair) for pair in pairs), dtype=np.int32, count=len(pairs))
    cu_seqlens = np.zeros(len(pairs) + 1, dtype=np.int32)
    np.cumsum(lengths, out=cu_seqlens[1:])
    token_ids = np.concatenate([pair.token_ids for pair in pairs])
    return PackedBatch(
        token_ids=token_ids,
        token_type_ids=np.concatenate([pair.token_type_ids for pair in pairs]),
        position_ids=_position_ids(token_ids, cu_seqlens, spec) + np.repeat(starts, lengths),
        cu_seqlens=cu_seqlens,
        head_lengths=np.array([pair.num_head_tokens for pair in pairs], dtype=np.int32),
        prefixes=tuple(prefixes) if any(prefixes) else (),
    )


def read_part(pair: TokenizedPair, spec: EncoderSpec) -> TokenizedPair:
    """`pair` without what comes after the token whose row the head reads.

    Stock classifiers read the last token that is not <pad>, and some end every text with a token
    that they also pad with; where attention is causal, nothing after the row that is read matters.
    """
    if spec.head.pooling != "last" or spec.head.skipped_id is None:
        return pair
    read = np.flatnonzero(pair.token_ids != spec.head.skipped_id)
    return pair.part(slice(int(read[-1]) + 1 if len(read) else 1))


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
