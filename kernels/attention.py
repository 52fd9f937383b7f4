"""Softmax attention inside each packed sequence: online softmax, no padding, no score matrix.

After Dao et al., "FlashAttention" (NeurIPS 2022, arXiv 2205.14135). A program computes a block of
one sequence's query rows for one head; a table lists the blocks, so that no program searches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from zen_fast.errors import InvalidArgumentError
from zen_fast.kernels.activations import tanh

QUERY_BLOCK = 64
"""Query rows of a line in the table of blocks; a program computes these, or an even part."""


@dataclass(frozen=True)
class AttentionConfig:
    """Query rows of a program, keys it reads at a time, its warps, and its pipeline's depth."""

    rows: int
    keys: int
    num_warps: int
    num_stages: int = 2


def choose_config(
    dtype: torch.dtype, head_dim: int, adds_terms: bool, extras: bool = False
) -> AttentionConfig:
    """The largest blocks whose registers do not spill, with Triton 3.6 nor 3.9.

    fp32 products are three TF32 parts; with fewer than 64 rows, since the wgmma code that Triton
    3.6 makes of more, by eight warps, reads beyond its shared memory. `adds_terms`: scores gain
    relative terms or a bias. `extras`: it reads a prefix, or only a row of each sequence.
    """
    large = head_dim > 64 or adds_terms
    if dtype == torch.float32:
        rows = QUERY_BLOCK // (4 if large else 2)
        narrow = adds_terms or extras or 32 < head_dim <= 64
        return AttentionConfig(rows, 16 if narrow else 32, num_warps=4)
    if large:
        return AttentionConfig(QUERY_BLOCK, 32, num_warps=4)
    return AttentionConfig(QUERY_BLOCK, 64, num_warps=4, num_stages=3)


@dataclass(frozen=True)
class RelativeScores:
    """DeBERTa's disentangled terms, as products with every row of the relative tables.

    The score of query i and key j gains by_query[i, head, b] + by_key[j, head, b] with
    b = bucket_of_distance[i - j + max_length - 1].
    """

    by_query: Tensor | None
    """(rows of the query, num_heads, num_rows)"""
    by_key: Tensor | None
    """(tokens, num_heads, num_rows)"""
    bucket_of_distance: Tensor
    """(2 * max_length - 1,) int32"""


@dataclass(frozen=True)
class SharedPrefix:
    """Keys and values that come before those of several sequences: computed once for them all."""

    key: Tensor
    """(prefix tokens, key width), any row stride: prefixes laid end to end"""
    value: Tensor
    """The same, of the same row stride"""
    cu_seqlens: Tensor
    """(prefixes + 1,) int32"""
    of_sequence: Tensor
    """(sequences,) int32, each one's prefix"""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens: Tensor,
    query_blocks: Tensor,
    num_heads: int,
    scale: float,
    *,
    one_row_each: bool = False,
    window: int | None = None,
    relative: RelativeScores | None = None,
    cap: float = 0.0,
    causal: bool = False,
    num_kv_heads: int | None = None,
    prefix: SharedPrefix | None = None,
    position_bias: Tensor | None = None,
    head_lengths: Tensor | None = None,
) -> Tensor:
    """Attention of packed sequences.

    Args:
        query: (tokens, width), or (sequences, width) with `one_row_each`; any row stride.
        key, value: (tokens, key width), any row stride.
        cu_seqlens: (sequences + 1,) int32.
        query_blocks: (num_blocks, 2) int32, sequence and first query row of it, -1 for none.
        one_row_each: the query's rows are the sequences' first tokens, or their last where causal
            or with head_lengths.
        window: largest distance attended to.
        cap: scaled scores become cap * tanh(score / cap); 0 for no cap.
        causal: a token attends to none behind it.
        num_kv_heads: heads of key and value, each for as many adjacent heads of the query (Ainslie
            et al., EMNLP 2023, arXiv 2305.13245); None for num_heads.
        prefix: what every token of a sequence attends to besides, as if it came before.
        position_bias: (num_heads, 2 * max_length - 1) fp32, what the score of query i and key j
            gains before it is scaled, in column j - i + max_length - 1.
        head_lengths: (sequences,) int32, so many first tokens of each see only each other.

    Returns:
        Like query, contiguous; rows that no block names are left as they are.

    Raises:
        InvalidArgumentError: heads that cannot be shared out, or scores that depend on positions
            with a prefix.
    """
    head_dim = query.shape[1] // num_heads
    num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
    if num_heads % num_kv_heads:
        raise InvalidArgumentError(
            f"num_kv_heads={num_kv_heads} does not divide num_heads={num_heads}"
        )
    if prefix is not None and (relative is not None or position_bias is not None):
        raise InvalidArgumentError(
            "relative scores end at a sequence's own tokens; put the prefix into the sequences"
        )
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    by_query = None if relative is None else relative.by_query
    by_key = None if relative is None else relative.by_key
    buckets = None if relative is None else relative.bucket_of_distance
    adds_terms = relative is not None or position_bias is not None
    extras = prefix is not None or one_row_each
    config = choose_config(query.dtype, head_dim, adds_terms, extras)
    terms = next((each for each in (by_query, by_key) if each is not None), None)
    parts = 1 if one_row_each else QUERY_BLOCK // config.rows
    attention_kernel[(len(query_blocks) * parts, num_heads)](
        query,
        key,
        value,
        out,
        cu_seqlens,
        query_blocks,
        by_query,
        by_key,
        None if buckets is None else buckets[len(buckets) // 2 :],
        None if prefix is None else prefix.key,
        None if prefix is None else prefix.value,
        None if prefix is None else prefix.cu_seqlens,
        None if prefix is None else prefix.of_sequence,
        None if position_bias is None else position_bias[:, position_bias.shape[1] // 2 :],
        head_lengths,
        scale,
        cap,
        query.stride(0),
        key.stride(0),
        value.stride(0),
        out.stride(0),
        0 if terms is None else terms.shape[2],
        0 if prefix is None else prefix.key.stride(0),
        0 if position_bias is None else position_bias.stride(0),
        NUM_HEADS=num_heads,
        HEAD_DIM=head_dim,
        BLOCK_D=max(16, triton.next_power_of_2(head_dim)),
        WINDOW=-1 if window is None else window,
        ONE_ROW_EACH=one_row_each,
        HAS_BY_QUERY=by_query is not None,
        HAS_BY_KEY=by_key is not None,
        HAS_CAP=cap > 0,
        CAUSAL=causal,
        GROUP=num_heads // num_kv_heads,
        HAS_PREFIX=prefix is not None,
        HAS_BIAS=position_bias is not None,
        HAS_HEADS=head_lengths is not None,
        PARTS=parts,
        BLOCK_M=16 if one_row_each else config.rows,
        BLOCK_N=config.keys,
        num_warps=config.num_warps,
        num_stages=config.num_stages,
    )
    return out


@triton.jit
def to_base_2(scores, scale, cap, HAS_CAP: tl.constexpr):
    """Scores scaled and capped, for exp2: it is the instruction."""
    if HAS_CAP:
        return tanh(scores * (scale / cap)) * (cap * 1.4426950408889634)
    return scores * (scale * 1.4426950408889634)


@triton.jit
def add_keys(scores, v, maximum, total, context):
    """A block of keys joins the softmax: scores to base 2, -inf where they may not be seen."""
    new_maximum = tl.maximum(maximum, tl.max(scores, 1))
    # A row may have seen no key of its window yet: -inf minus -inf must not become NaN.
    finite = tl.where(new_maximum == float("-inf"), 0.0, new_maximum)
    weights = tl.exp2(scores - finite[:, None])
    rescale = tl.exp2(maximum - finite)
    total = total * rescale + tl.sum(weights, 1)
    context = context * rescale[:, None]
    context = tl.dot(weights.to(v.dtype), v, context, input_precision="tf32x3")
    return new_maximum, total, context


@triton.jit
def attention_kernel(
    query,
    key,
    value,
    out,
    cu_seqlens,
    query_blocks,
    by_query,
    by_key,
    bucket_of_distance,  # points at distance 0
    prefix_key,
    prefix_value,
    prefix_cu_seqlens,
    prefix_of_sequence,
    position_bias,  # points at offset 0
    head_lengths,
    scale,
    cap,
    query_stride,
    key_stride,
    value_stride,
    out_stride,
    num_buckets,
    prefix_stride,
    bias_stride,
    NUM_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_D: tl.constexpr,
    WINDOW: tl.constexpr,
    ONE_ROW_EACH: tl.constexpr,
    HAS_BY_QUERY: tl.constexpr,
    HAS_BY_KEY: tl.constexpr,
    HAS_CAP: tl.constexpr,
    CAUSAL: tl.constexpr,
    GROUP: tl.constexpr,
    HAS_PREFIX: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_HEADS: tl.constexpr,
    PARTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    block = query_blocks + 2 * (tl.program_id(0) // PARTS)
    sequence = tl.load(block)
    first = tl.load(block + 1) + tl.program_id(0) % PARTS * BLOCK_M
    if sequence < 0:
        return
    head = tl.program_id(1)
    begin = tl.load(cu_seqlens + sequence).to(tl.int64)
    length = (tl.load(cu_seqlens + sequence + 1) - begin).to(tl.int32)

    row = first + tl.arange(0, BLOCK_M)
    if ONE_ROW_EACH:
        row_ok = row < 1
        query_row = sequence.to(tl.int64) + row * 0
    else:
        row_ok = row < length
        query_row = begin + row
    dim = tl.arange(0, BLOCK_D)
    dim_ok = dim < HEAD_DIM
    column = head * HEAD_DIM + dim
    kv_column = head // GROUP * HEAD_DIM + dim
    q = tl.load(
        query + query_row[:, None] * query_stride + column[None, :],
        mask=row_ok[:, None] & dim_ok[None, :],
        other=0.0,
    )

    first_place = first
    if ONE_ROW_EACH and (CAUSAL or HAS_HEADS):
        first_place = length - 1
    place = first_place + tl.arange(0, BLOCK_M)
    first_key, end_key = 0, length
    if WINDOW >= 0:
        first_key = tl.maximum(first_place - WINDOW, 0) // BLOCK_N * BLOCK_N
        end_key = tl.minimum(first_place + BLOCK_M + WINDOW, length)
    if HAS_HEADS:
        head_length = tl.load(head_lengths + sequence)
    if CAUSAL:
        end_key = tl.minimum(first_place + BLOCK_M, length)
    maximum = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    context = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    if HAS_PREFIX:
        which = tl.load(prefix_of_sequence + sequence)
        prefix_begin = tl.load(prefix_cu_seqlens + which).to(tl.int64)
        prefix_length = (tl.load(prefix_cu_seqlens + which + 1) - prefix_begin).to(tl.int32)
        for start in range(0, prefix_length, BLOCK_N):
            j = start + tl.arange(0, BLOCK_N)
            entry = (prefix_begin + j)[:, None] * prefix_stride + kv_column[None, :]
            key_ok = (j < prefix_length)[:, None] & dim_ok[None, :]
            k = tl.load(prefix_key + entry, mask=key_ok, other=0.0)
            scores = tl.dot(q, tl.trans(k), input_precision="tf32x3")
            allowed = (j < prefix_length)[None, :]
            if WINDOW >= 0:
                allowed = allowed & (place[:, None] + prefix_length - j[None, :] <= WINDOW)
            scores = to_base_2(scores, scale, cap, HAS_CAP)
            scores = tl.where(allowed, scores, float("-inf"))
            v = tl.load(prefix_value + entry, mask=key_ok, other=0.0)
            maximum, total, context = add_keys(scores, v, maximum, total, context)
    for start in range(first_key, end_key, BLOCK_N):
        j = start + tl.arange(0, BLOCK_N)
        key_row = (begin + j)[:, None]
        key_ok = (j < length)[:, None] & dim_ok[None, :]
        k = tl.load(key + key_row * key_stride + kv_column[None, :], mask=key_ok, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="tf32x3")
        seen = (j < length)[None, :] & row_ok[:, None]
        if HAS_BY_QUERY or HAS_BY_KEY:
            bucket = tl.load(bucket_of_distance + (place[:, None] - j[None, :]), mask=seen, other=0)
        if HAS_BY_QUERY:
            term = (query_row[:, None] * NUM_HEADS + head) * num_buckets + bucket
            scores += tl.load(by_query + term, mask=seen, other=0.0).to(tl.float32)
        if HAS_BY_KEY:
            term = ((begin + j)[None, :] * NUM_HEADS + head) * num_buckets + bucket
            scores += tl.load(by_key + term, mask=seen, other=0.0).to(tl.float32)
        if HAS_BIAS:
            offset = j[None, :] - place[:, None]
            term = position_bias + head * bias_stride + offset
            scores += tl.load(term, mask=seen, other=0.0)
        allowed = (j < length)[None, :]
        if HAS_HEADS:
            allowed = allowed & ((place[:, None] >= head_length) | (j[None, :] < head_length))
        if WINDOW >= 0:
            distance = place[:, None] - j[None, :]
            allowed = allowed & (distance <= WINDOW) & (distance >= -WINDOW)
        if CAUSAL:
            allowed = allowed & (place[:, None] >= j[None, :])
        scores = to_base_2(scores, scale, cap, HAS_CAP)
        scores = tl.where(allowed, scores, float("-inf"))
        v = tl.load(value + key_row * value_stride + kv_column[None, :], mask=key_ok, other=0.0)
        maximum, total, context = add_keys(scores, v, maximum, total, context)

    context = context / total[:, None]
    tl.store(
        out + query_row[:, None] * out_stride + column[None, :],
        context.to(out.dtype.element_ty),
        mask=row_ok[:, None] & dim_ok[None, :],
    )
