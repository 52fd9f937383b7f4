"""The op protocol: what a backend implements, and all that the encoder graph may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from zen_fast.spec import Activation, Pooling
from zen_fast.weights import Array, Linear, Norm

Value = TypeVar("Value")
"""A backend's handle to a matrix with one row per token, or one row per sequence."""

EmbeddingIndex = Literal["token", "position", "token_type"]
GatedHalf = Literal["first", "second"]


@dataclass(frozen=True)
class EmbeddingTable:
    """Rows looked up by one of the batch's id vectors; rows (num_rows, width) fp32 or fp16."""

    index: EmbeddingIndex
    rows: Array
    scale: float = 1.0
    """Factor on every row."""


@dataclass(frozen=True)
class RelativeTables:
    """One layer's projected relative-position tables (DeBERTa), None for a term that is absent.

    The score of query i and key j gains `scale * q[i]·keys[bucket[i-j]]` and
    `scale * k[j]·queries[bucket[i-j]]`; `bucket[d]` is `bucket_of_distance[d + max_length - 1]`.
    """

    keys: Array | None
    """(num_rows, hidden) fp32"""
    queries: Array | None
    """(num_rows, hidden) fp32"""
    bucket_of_distance: Array
    """(2 * max_length - 1,) int32, the row for each distance i - j, never decreasing"""


@dataclass(frozen=True)
class AttentionPattern:
    """Who attends to whom in one layer, and how scores are made."""

    layer: int
    num_heads: int
    num_kv_heads: int
    """Heads of keys and values, each for num_heads / num_kv_heads adjacent query heads (Ainslie et
    al., EMNLP 2023, arXiv 2305.13245)."""
    scale: float
    """Factor on query · key."""
    cap: float = 0.0
    """Scaled scores become cap * tanh(score / cap); 0 for no cap."""
    causal: bool = False
    """Only tokens at or before one's own."""
    query_independent: bool = False
    """Tokens of a sequence's head, what comes before its document, see only each other."""
    window: int | None = None
    """Largest distance |i - j|."""
    relative: RelativeTables | None = None
    position_bias: Array | None = None
    """(num_heads, 2 * max_length - 1) fp32: what the score of query i and key j gains in each head
    before it is scaled, in column j - i + max_length - 1."""
    rounded: bool = False
    """An int8 model's, in which every token sees the whole sequence: a CPU may multiply 16-bit
    numbers, see `zen_fast.rounded_attention`."""


class Ops(Protocol[Value]):
    """The ops of an encoder. A matrix has rows per token (T) or per sequence (S)."""

    def embed(self, tables: Sequence[EmbeddingTable]) -> Value:
        """Sum of the tables' scaled rows for each token: (T, width)."""

    def linear(
        self,
        x: Value,
        layer: Linear,
        activation: Activation | None = None,
        residual: Value | None = None,
    ) -> Value:
        """activation(x Wᵀ + b) + residual: (rows, in) → (rows, out)."""

    def norm(self, x: Value, norm: Norm, residual: Value | None = None) -> Value:
        """LayerNorm or RMSNorm over each row, plus residual.

        A norm narrower than the row is applied to each adjacent stretch of its width: to each head.
        """

    def split(self, x: Value, widths: Sequence[int]) -> tuple[Value, ...]:
        """Views of adjacent column ranges; the widths add up to x's width."""

    def rotary(self, x: Value, num_heads: int, inverse_frequencies: Sequence[float]) -> Value:
        """Rotary position embedding (Su et al., arXiv 2104.09864), halves rotated.

        x is (T, width), or (S, width) with the rows of the sequences' last tokens: a first token
        sits at angle 0 and needs no turning.
        """

    def attention(self, query: Value, key: Value, value: Value, pattern: AttentionPattern) -> Value:
        """Softmax attention inside each sequence: query (T or S, width), key and value (T, width).

        A query with one row per sequence stands for that sequence's first token, or for its last
        where attention is causal or query-independent. Where the batch gives a sequence a prefix,
        the prefix's keys and values of this layer come before the sequence's own.
        """

    def gate(self, x: Value, activation: Activation, activated: GatedHalf) -> Value:
        """Product of x's two column halves, one of them activated: (rows, 2n) → (rows, n)."""

    def pool(self, x: Value, pooling: Pooling) -> Value:
        """First row, last row, or mean of the rows, of each sequence: (T, width) → (S, width)."""

    def neighbours(self, x: Value, count: int) -> Value:
        """Each row beside its neighbours: (T, width) → (T, count * width).

        Columns [n * width, (n+1) * width) of row i hold row i + n - count // 2, zeros outside the
        sequence.
        """
