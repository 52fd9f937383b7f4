"""The ops of the encoder as launches of Triton kernels, and the parameters that they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

import zen_fast.kernels as kernels
from zen_fast.backends.device_batch import BatchSize
from zen_fast.backends.linear_choices import LinearChoices, LinearShape
from zen_fast.backends.vendor_linear import vendor_linear
from zen_fast.ops import AttentionPattern, EmbeddingTable, GatedHalf, RelativeTables
from zen_fast.spec import Activation, Pooling
from zen_fast.weights import Array, Linear, Norm, QuantizedMatrix

DTYPES = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float16,
    "fp8": torch.float16,
}
"""Precision → what activations are kept in between the ops."""

Parameter = TypeVar("Parameter")


class Parameters:
    """What the ops read besides activations, on the device: made on the first pass, then kept.

    The graph asks for them in the same order in every pass.
    """

    def __init__(
        self,
        device: torch.device,
        precision: str,
        is_quantized: bool,
        max_length: int,
        choices: LinearChoices,
    ) -> None:
        self.device = device
        self.dtype = DTYPES[precision]
        self.eight_bits = "int8" if is_quantized else "fp8" if precision == "fp8" else None
        self.max_length = max_length
        self.choices = choices
        self._angles: dict[tuple[float, ...], tuple[Tensor, Tensor]] = {}
        self._made: list[Any] = []
        self._next = 0

    def rewind(self) -> None:
        """Begin a pass."""
        self._next = 0

    def take(self, make: Callable[[], Parameter]) -> Parameter:
        """The pass's next parameter; `make` is called if there has been no pass before."""
        if self._next == len(self._made):
            self._made.append(make())
        self._next += 1
        parameter: Parameter = self._made[self._next - 1]
        return parameter

    def tensor(self, array: Array, dtype: torch.dtype | None = None) -> Tensor:
        """`array` on the device, in the activations' dtype unless another is named."""
        source = torch.from_numpy(np.ascontiguousarray(array))
        return source.to(self.device, self.dtype if dtype is None else dtype)

    def embedding_rows(self, table: EmbeddingTable) -> Tensor:
        """A table's scaled rows."""
        if table.scale == 1:
            return self.tensor(table.rows)
        return (self.tensor(table.rows, torch.float32) * table.scale).to(self.dtype)

    def fp32(self, array: Array | None) -> Tensor | None:
        """Vectors stay in fp32: they are small, and kernels compute in it."""
        return None if array is None else self.tensor(array, torch.float32)

    def quantized(self, matrix: QuantizedMatrix) -> kernels.QuantizedWeight:
        """The bytes, their scales and their sums."""
        values = self.tensor(matrix.values, torch.int8)
        sums = values.sum(dim=1, dtype=torch.int32)
        return kernels.QuantizedWeight(values, self.tensor(matrix.scales, torch.float32), sums)

    def float8(self, array: Array) -> kernels.Float8Matrix:
        """A projection in 8 bits, made on the device from fp32."""
        return kernels.float8_weight(self.tensor(array, torch.float32))

    def angles(self, inverse_frequencies: Sequence[float]) -> tuple[Tensor, Tensor]:
        """Cosines and sines of every position, (max_length, head_dim / 2) fp32 each."""
        key = tuple(inverse_frequencies)
        if key not in self._angles:
            self._angles[key] = self._make_angles(inverse_frequencies)
        return self._angles[key]

    def _make_angles(self, inverse_frequencies: Sequence[float]) -> tuple[Tensor, Tensor]:
        # The stock models take the product in fp32 before the cosine.
        positions = torch.arange(self.max_length, dtype=torch.float32)
        angles = positions[:, None] * torch.tensor(inverse_frequencies, dtype=torch.float32)
        return angles.cos().to(self.device), angles.sin().to(self.device)


class TritonOps:
    """The op protocol over one laid-out batch."""

    def __init__(
        self,
        integers: Tensor,
        size: BatchSize,
        parameters: Parameters,
        prefix_rows: Tensor,
        keeps_keys_values: bool,
    ) -> None:
        """`prefix_rows` (size.num_prefix_tokens, floats kept per token), prefixes end to end."""
        self._size = size
        self._prefix_rows = prefix_rows
        self._prefix_cu_seqlens = integers[size.part("prefix_cu_seqlens")]
        self._prefix_of_sequence = integers[size.part("prefix_of_sequence")]
        self.keys_values: list[Tensor] = []
        """Every layer's keys and values so far, (T, key_width) each, where they are kept."""
        self._keeps_keys_values = keeps_keys_values
        self._parameters = parameters
        self._ids = {
            name: integers[size.part(name)]
            for name in ("token", "position", "token_type", "place", "sequence_of_row")
        }
        self._head_lengths = integers[size.part("head_lengths")]
        self._cu_seqlens = integers[size.part("cu_seqlens")]
        self._query_blocks = integers[size.part("query_blocks")].view(-1, 2)
        self._emitted: tuple[Tensor, kernels.QuantizedRows | kernels.Float8Matrix] | None = None
        self._first_rows = integers[size.part("first_rows")].view(-1, 2)

    def embed(self, tables: Sequence[EmbeddingTable]) -> Tensor:
        parameters = self._parameters
        rows = parameters.take(lambda: [parameters.embedding_rows(table) for table in tables])
        ids = [self._ids[table.index] for table in tables]
        return kernels.embed(list(zip(rows, ids, strict=True)), parameters.dtype)

    def linear(
        self,
        x: Tensor,
        layer: Linear,
        activation: Activation | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        parameters = self._parameters
        bias = parameters.take(lambda: parameters.fp32(layer.bias))
        if isinstance(layer.weight, QuantizedMatrix):
            matrix = layer.weight
            quantized = parameters.take(lambda: parameters.quantized(matrix))
            input_scales = parameters.take(lambda: parameters.fp32(matrix.input_scales))
            emitted = self._emitted_rows(x)
            # A norm does not know the scales of its reader's inputs.
            is_ready = isinstance(emitted, kernels.QuantizedRows) and input_scales is None
            rows = emitted if is_ready else kernels.quantize_rows(x, input_scales)
            return kernels.quantized_linear(
                rows, quantized, parameters.dtype, bias, activation, residual
            )
        array = layer.weight
        if parameters.eight_bits == "fp8" and layer.is_projection:
            float8 = parameters.take(lambda: parameters.float8(array))
            emitted = self._emitted_rows(x)
            float8_rows = (
                emitted if isinstance(emitted, kernels.Float8Matrix) else kernels.float8_rows(x)
            )
            return kernels.float8_linear(
                float8_rows, float8, parameters.dtype, bias, activation, residual
            )
        weight = parameters.take(lambda: parameters.tensor(array))
        # Taken whoever multiplies: which of the two it is differs from one batch size to the next.
        vendor_bias = parameters.take(lambda: None if bias is None else bias.to(x.dtype))
        shape = LinearShape(
            "fp32" if x.dtype == torch.float32 else "fp16",
            *(weight.shape[1], weight.shape[0]),
            activation=activation is not None,
            residual=residual is not None,
        )
        if parameters.choices.prefers_vendor(shape, len(x)):
            return vendor_linear(x, weight, vendor_bias, activation, residual)
        return kernels.linear(x, weight, bias, activation, residual)

    def _emitted_rows(self, x: Tensor) -> kernels.QuantizedRows | kernels.Float8Matrix | None:
        """What the last norm emitted besides its result, if that is `x`."""
        if self._emitted is None or self._emitted[0] is not x:
            return None
        return self._emitted[1]

    def norm(self, x: Tensor, norm: Norm, residual: Tensor | None = None) -> Tensor:
        parameters = self._parameters
        weight = parameters.take(lambda: parameters.tensor(norm.weight, torch.float32))
        bias = parameters.take(lambda: parameters.fp32(norm.bias))
        is_whole = len(weight) == x.shape[1]
        if parameters.eight_bits is None or residual is not None or not is_whole:
            parts = x if is_whole else x.reshape(-1, len(weight))
            normed = kernels.norm(parts, weight, bias, norm.eps, norm.centred).view(x.shape)
            return normed if residual is None else normed + residual
        # A projection comes next, as a rule, and its rows in 8 bits are not read from memory again.
        emit = kernels.norm_float8 if parameters.eight_bits == "fp8" else kernels.norm_quantized
        self._emitted = emit(x, weight, bias, norm.eps, norm.centred)
        return self._emitted[0]

    def split(self, x: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
        return torch.split(x, list(widths), dim=1)

    def rotary(self, x: Tensor, num_heads: int, inverse_frequencies: Sequence[float]) -> Tensor:
        cosines, sines = self._parameters.take(lambda: self._parameters.angles(inverse_frequencies))
        places = self._ids["place"]
        if len(x) == self._size.num_sequences:
            places = places[self._cu_seqlens[1:].long() - 1]
        return kernels.rotary(x, places, cosines, sines, num_heads)

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pattern: AttentionPattern,
    ) -> Tensor:
        if self._keeps_keys_values:
            self.keys_values += [key, value]
        num_heads, relative = pattern.num_heads, pattern.relative
        one_row_each = len(query) == self._size.num_sequences
        bias = self._parameters.take(lambda: self._parameters.fp32(pattern.position_bias))
        return kernels.attention(
            query,
            key,
            value,
            self._cu_seqlens,
            self._first_rows if one_row_each else self._query_blocks,
            num_heads,
            pattern.scale,
            one_row_each=one_row_each,
            window=pattern.window,
            cap=pattern.cap,
            causal=pattern.causal,
            num_kv_heads=pattern.num_kv_heads,
            prefix=self._prefix(pattern.layer, key.shape[1]) if self._size.num_prefixes else None,
            position_bias=bias,
            head_lengths=self._head_lengths if pattern.query_independent else None,
            relative=None if relative is None else self._relative(query, key, num_heads, relative),
        )

    def _prefix(self, layer: int, key_width: int) -> kernels.SharedPrefix:
        """One layer's keys and values of all prefixes."""
        first = 2 * layer * key_width
        keys_values = self._prefix_rows[:, first : first + 2 * key_width]
        return kernels.SharedPrefix(
            keys_values[:, :key_width],
            keys_values[:, key_width:],
            self._prefix_cu_seqlens,
            self._prefix_of_sequence,
        )

    def gate(self, x: Tensor, activation: Activation, activated: GatedHalf) -> Tensor:
        return kernels.gate(x, activation, activate_first=activated == "first")

    def pool(self, x: Tensor, pooling: Pooling) -> Tensor:
        return kernels.pool(x, self._cu_seqlens, pooling)

    def neighbours(self, x: Tensor, count: int) -> Tensor:
        return kernels.neighbours(x, self._ids["sequence_of_row"], count)

    def _relative(
        self, query: Tensor, key: Tensor, num_heads: int, tables: RelativeTables
    ) -> kernels.RelativeScores:
        """Products with every row of the tables, by the vendor's batched product."""
        parameters = self._parameters

        def products(x: Tensor, table: Array | None) -> Tensor | None:
            if table is None:
                return None
            rows = parameters.take(
                lambda: _heads(parameters.tensor(table), num_heads).permute(1, 2, 0)
            )
            by_head = _heads(x, num_heads).transpose(0, 1)
            return _fp32_products(by_head, rows).transpose(0, 1).contiguous()

        by_query, by_key = products(query, tables.keys), products(key, tables.queries)
        buckets = parameters.take(lambda: parameters.tensor(tables.bucket_of_distance, torch.int32))
        return kernels.RelativeScores(by_query, by_key, buckets)


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """Columns parted into heads: (rows, width) → (rows, num_heads, head_dim)."""
    return x.reshape(len(x), num_heads, -1)


def _fp32_products(x: Tensor, y: Tensor) -> Tensor:
    """Batched products in fp32: a softmax of sums of them would make much of their rounding."""
    if x.dtype == torch.float32 or x.device.type == "cpu":
        return torch.bmm(x.float(), y.float())
    return torch.bmm(x, y, out_dtype=torch.float32)
