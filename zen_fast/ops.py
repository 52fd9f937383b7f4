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


class Ops(Protocol[Value]):
    """The ops of an encoder. A matrix has rows per token (T) or per sequence (S)."""

    def embed(self, tables: Sequence[EmbeddingTable]) -> Value:
        """Sum of the tables' rows for each token: (T, width)."""

    def linear(
        self,
        x: Value,
        layer: Linear,
        activation: Activation | None = None,
        residual: Value | None = None,
    ) -> Value:
        """activation(x Wᵀ + b) + residual: (rows, in) → (rows, out)."""

    def norm(self, x: Value, norm: Norm) -> Value:
        """LayerNorm over each row."""

    def split(self, x: Value, widths: Sequence[int]) -> tuple[Value, ...]:
        """Views of adjacent column ranges; the widths add up to x's width."""

    def rotary(self, x: Value, num_heads: int, inverse_frequencies: Sequence[float]) -> Value:
        """Rotary position embedding (Su et al., arXiv 2104.09864), halves rotated: (T, width)."""

    def attention(
        self,
        query: Value,
        key: Value,
        value: Value,
        num_heads: int,
        scale: float,
        window: int | None = None,
        relative: RelativeTables | None = None,
    ) -> Value:
        """Softmax attention inside each sequence: query (T or S, width), key and value (T, width).

        A query with one row per sequence stands for that sequence's first token. `window` bounds
        the distance |i - j|.
        """

    def gate(self, x: Value, activation: Activation, activated: GatedHalf) -> Value:
        """Product of x's two column halves, one of them activated: (rows, 2n) → (rows, n)."""

    def pool(self, x: Value, pooling: Pooling) -> Value:
        """First row, or mean of the rows, of each sequence: (T, width) → (S, width)."""

    def neighbours(self, x: Value, count: int) -> Value:
        """Each row beside its neighbours: (T, width) → (T, count * width).

        Columns [n * width, (n+1) * width) of row i hold row i + n - count // 2, zeros outside the
        sequence.
        """
