"""What a forward pass should take on a GPU, on paper: the one graph, counted op by op.

Each launch takes the longer of its arithmetic and its traffic, every operand moved once, plus the
gap between two kernels of a replayed CUDA graph. A measured pass is slower; by how much says where
to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from zen_fast.bench.flops import num_scores
from zen_fast.encoder import Encoder
from zen_fast.ops import AttentionPattern, EmbeddingTable, GatedHalf
from zen_fast.spec import Activation, EncoderSpec, Pooling
from zen_fast.weights import Linear, Norm, Weights, parameter_shapes


@dataclass(frozen=True)
class Gpu:
    """A GPU's measured ceilings."""

    name: str
    flops_per_second: Mapping[str, float]
    """Precision → matrix products on random data."""
    bytes_per_second: float
    seconds_per_launch: float
    """From the end of one kernel of a CUDA graph to the start of the next."""


H200 = Gpu(
    "NVIDIA H200",
    # bf16 as measured by an 8192 x 8192 x 8192 product; 8-bit products run at twice that rate and
    # TF32 at half of it, of which fp32 takes three parts.
    {"fp16": 790e12, "bf16": 790e12, "int8": 1580e12, "fp8": 1580e12, "fp32": 790e12 / 6},
    bytes_per_second=4.3e12,
    seconds_per_launch=1e-6,
)

ACTIVATION_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 2, "fp8": 2}
WEIGHT_BYTES = ACTIVATION_BYTES | {"int8": 1, "fp8": 1}


@dataclass(frozen=True)
class OpCount:
    """What one op of the graph must compute and move."""

    op: str
    """Name and widths."""
    flops: float
    num_bytes: float
    launches: int

    def seconds(self, gpu: Gpu, precision: str) -> float:
        """Expected on `gpu`."""
        busy = max(
            self.flops / gpu.flops_per_second[precision], self.num_bytes / gpu.bytes_per_second
        )
        return busy + self.launches * gpu.seconds_per_launch


def count_ops(spec: EncoderSpec, lengths: Sequence[int], precision: str) -> list[OpCount]:
    """Every op of a pass over sequences of these lengths, in the order of the graph."""
    ops = CountingOps(lengths, precision)
    Encoder(spec, _weightless(spec)).logits(ops)
    return ops.counts


def expected_seconds(
    spec: EncoderSpec, lengths: Sequence[int], precision: str, gpu: Gpu = H200
) -> float:
    """Of the whole pass, on paper."""
    return sum(each.seconds(gpu, precision) for each in count_ops(spec, lengths, precision))


def _weightless(spec: EncoderSpec) -> Weights:
    """Weights of the right shapes that take no memory."""
    zero = np.zeros((), np.float32)
    shapes = parameter_shapes(spec)
    return Weights(
        {name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}, spec.norm_eps
    )


@dataclass(frozen=True)
class Matrix:
    """A value of the graph: only its size."""

    rows: int
    width: int
    has_eight_bits: bool = False
    """Whether the norm that made it has emitted its rows in 8 bits, too."""

    @property
    def size(self) -> int:
        return self.rows * self.width


class CountingOps:
    """The op protocol over sizes."""

    def __init__(self, lengths: Sequence[int], precision: str) -> None:
        self.counts: list[OpCount] = []
        self._lengths = lengths
        self._precision = precision
        self._bytes = ACTIVATION_BYTES[precision]

    def _add(self, op: str, flops: float, num_bytes: float, launches: int = 1) -> None:
        self.counts.append(OpCount(op, flops, num_bytes, launches))

    def embed(self, tables: Sequence[EmbeddingTable]) -> Matrix:
        out = Matrix(sum(self._lengths), tables[0].rows.shape[1])
        self._add(f"embed {out.width}", 0, (len(tables) + 1) * out.size * self._bytes)
        return out

    def linear(
        self,
        x: Matrix,
        layer: Linear,
        activation: Activation | None = None,
        residual: Matrix | None = None,
    ) -> Matrix:
        out = Matrix(x.rows, layer.out_width)
        eight_bits = self._precision in ("int8", "fp8") and layer.is_projection
        x_bytes = 1 if eight_bits else self._bytes
        weight_bytes = WEIGHT_BYTES[self._precision] if eight_bits else self._bytes
        moved = x.size * x_bytes + x.width * out.width * weight_bytes
        moved += out.size * self._bytes * (1 if residual is None else 2)
        if eight_bits and not x.has_eight_bits:
            self._add(f"quantize {x.width}", 0, x.size * (self._bytes + 1))
        self._add(f"linear {x.width} -> {out.width}", 2.0 * x.size * out.width, moved)
        return out

    def norm(self, x: Matrix, norm: Norm, residual: Matrix | None = None) -> Matrix:
        emits = self._precision in ("int8", "fp8")
        operands = 2 if residual is None else 3
        self._add(f"norm {x.width}", 0, x.size * (operands * self._bytes + emits))
        return Matrix(x.rows, x.width, emits)

    def split(self, x: Matrix, widths: Sequence[int]) -> tuple[Matrix, ...]:
        return tuple(Matrix(x.rows, width) for width in widths)

    def rotary(self, x: Matrix, num_heads: int, inverse_frequencies: Sequence[float]) -> Matrix:
        self._add(f"rotary {x.width}", 0, 2 * x.size * self._bytes)
        return Matrix(x.rows, x.width)

    def attention(
        self, query: Matrix, key: Matrix, value: Matrix, pattern: AttentionPattern
    ) -> Matrix:
        one_row = query.rows == len(self._lengths) and query.rows != key.rows
        scores = sum(
            num_scores(pattern.window, length, 1 if one_row else length, pattern.causal)
            for length in self._lengths
        )
        relative = pattern.relative
        flops = 4.0 * query.width * scores
        moved = (2 * query.size + key.size + value.size) * self._bytes
        if relative is not None:
            for x, table in ((query, relative.keys), (key, relative.queries)):
                if table is not None:
                    terms = x.rows * pattern.num_heads * len(table)
                    product = 2.0 * x.size * len(table)
                    self._add(f"relative {len(table)}", product, terms * self._bytes, launches=2)
                    moved += terms * self._bytes
        self._add(f"attention {query.width}", flops, moved)
        return query

    def gate(self, x: Matrix, activation: Activation, activated: GatedHalf) -> Matrix:
        out = Matrix(x.rows, x.width // 2)
        self._add(f"gate {out.width}", 0, 3 * out.size * self._bytes)
        return out

    def pool(self, x: Matrix, pooling: Pooling) -> Matrix:
        out = Matrix(len(self._lengths), x.width)
        read = x.size if pooling == "mean" else out.size
        self._add(f"pool {x.width}", 0, (read + out.size) * self._bytes)
        return out

    def neighbours(self, x: Matrix, count: int) -> Matrix:
        out = Matrix(x.rows, count * x.width)
        self._add(f"neighbours {x.width}", 0, (x.size + out.size) * self._bytes)
        return out
