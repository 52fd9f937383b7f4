"""The reference backend: the ops in eager fp32 PyTorch. The oracle of the others, never tuned."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zen_fast import rounded_attention
from zen_fast.batching import PackedBatch
from zen_fast.encoder import Encoder
from zen_fast.ops import AttentionPattern, EmbeddingTable, GatedHalf, RelativeTables
from zen_fast.quantization import MAX_QUANTIZED_ACTIVATION
from zen_fast.spec import Activation, Pooling
from zen_fast.weights import Array, Linear, Norm, QuantizedMatrix

_SMALLEST_RANGE = 1e-36
"""Quantized rows that span less are all zeros: 255 over the span would be infinite."""


class ReferenceBackend:
    """Runs an encoder op by op."""

    name = "reference"

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.precision = encoder.weights.precision
        rounding = rounded_attention.suffix(encoder.rounds_attention)
        self.arithmetic = f"reference torch {torch.__version__}{rounding}"

    def forward(self, batch: PackedBatch) -> NDArray[np.float32]:
        """Logits of each sequence, (num_sequences, num_labels) fp32; safe under threads."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self._encoder.logits(ReferenceOps(batch)).numpy()
        return logits

    def keys_values(self, batch: PackedBatch) -> list[NDArray[np.float32]]:
        """What later tokens read of each sequence's own ones; safe under threads."""
        ops = ReferenceOps(batch)
        with torch.inference_mode():
            self._encoder.logits(ops)
        rows = torch.cat(ops.keys_values, dim=1).numpy()
        return [rows[start:end] for start, end in pairwise(batch.cu_seqlens)]

    def advance(
        self, batch: PackedBatch, states: NDArray[np.float32] | None, layers: range
    ) -> NDArray[np.float32]:
        """Token states after `layers`; see `PausingBackend`."""
        with torch.inference_mode():
            ops = ReferenceOps(batch)
            x = self._encoder.embed(ops) if states is None else _tensor(states)
            advanced: NDArray[np.float32] = self._encoder.advance(ops, x, layers).numpy()
        return advanced

    def finish(
        self, batch: PackedBatch, states: NDArray[np.float32], first_layer: int
    ) -> NDArray[np.float32]:
        """Logits from the token states before `first_layer`; see `PausingBackend`."""
        with torch.inference_mode():
            logits: NDArray[np.float32] = self._encoder.finish(
                ReferenceOps(batch), _tensor(states), first_layer
            ).numpy()
        return logits

    def seconds_by_op(self) -> list[tuple[str, float]]:
        """Nothing: this backend is not measured."""
        return []


class ReferenceOps:
    """The op protocol over one batch."""

    def __init__(self, batch: PackedBatch) -> None:
        self._cu_seqlens = [int(start) for start in batch.cu_seqlens]
        self._head_lengths = [int(length) for length in batch.head_lengths]
        self._prefixes = batch.prefixes or (None,) * batch.num_sequences
        self.keys_values: list[Tensor] = []
        """Every layer's keys and values so far, (T, key_width) each."""
        self._last_rows = [end - 1 for end in self._cu_seqlens[1:]]
        self._ids = {
            "token": _tensor(batch.token_ids).long(),
            "position": _tensor(batch.position_ids).long(),
            "token_type": _tensor(batch.token_type_ids).long(),
        }

    def embed(self, tables: Sequence[EmbeddingTable]) -> Tensor:
        looked_up = [
            _tensor(table.rows)[self._ids[table.index]].float() * table.scale for table in tables
        ]
        return torch.stack(looked_up).sum(dim=0)

    def linear(
        self,
        x: Tensor,
        layer: Linear,
        activation: Activation | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        bias = None if layer.bias is None else _tensor(layer.bias)
        if isinstance(layer.weight, QuantizedMatrix):
            x = _quantized_product(x, layer.weight)
            x = x if bias is None else x + bias
        else:
            x = functional.linear(x, _tensor(layer.weight), bias)
        if activation is not None:
            x = _activate(x, activation)
        return x if residual is None else x + residual

    def norm(self, x: Tensor, norm: Norm, residual: Tensor | None = None) -> Tensor:
        weight = _tensor(norm.weight)
        bias = None if norm.bias is None else _tensor(norm.bias)
        parts = x.reshape(len(x), -1, len(weight))
        if norm.centred:
            normed = functional.layer_norm(parts, weight.shape, weight, bias, norm.eps)
        else:
            normed = functional.rms_norm(parts, weight.shape, weight, norm.eps)
            normed = normed if bias is None else normed + bias
        return normed.flatten(1) if residual is None else normed.flatten(1) + residual

    def split(self, x: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
        return torch.split(x, list(widths), dim=1)

    def rotary(self, x: Tensor, num_heads: int, inverse_frequencies: Sequence[float]) -> Tensor:
        positions = self._ids["position"]
        if len(x) < len(positions):
            positions = positions[self._last_rows]
        angles = positions.float()[:, None] * torch.tensor(inverse_frequencies)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]  # (T, 1, head_dim / 2)
        first, second = _heads(x, num_heads).chunk(2, dim=-1)
        turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
        return turned.flatten(1)

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pattern: AttentionPattern,
    ) -> Tensor:
        self.keys_values += [key, value]
        contexts = []
        for q, k, v, prefix, head_length in zip(
            *(self._sequences(x) for x in (query, key, value)),
            self._prefixes,
            self._head_lengths,
            strict=True,
        ):
            if prefix is not None:
                known, width = _tensor(prefix.keys_values), key.shape[1]
                column = 2 * pattern.layer * width
                k = torch.cat((known[:, column : column + width], k))
                v = torch.cat((known[:, column + width : column + 2 * width], v))
            contexts.append(_attend(q, k, v, pattern, head_length))
        return torch.cat(contexts)

    def gate(self, x: Tensor, activation: Activation, activated: GatedHalf) -> Tensor:
        first, second = x.chunk(2, dim=1)
        if activated == "first":
            return _activate(first, activation) * second
        return first * _activate(second, activation)

    def pool(self, x: Tensor, pooling: Pooling) -> Tensor:
        if pooling == "last":
            return x[self._last_rows]
        if pooling == "first":
            return torch.stack([rows[0] for rows in self._sequences(x)])
        return torch.stack([rows.mean(dim=0) for rows in self._sequences(x)])

    def neighbours(self, x: Tensor, count: int) -> Tensor:
        before = count // 2
        unfolded = []
        for rows in self._sequences(x):
            padded = functional.pad(rows, (0, 0, before, count - 1 - before))
            unfolded.append(torch.cat([padded[n : n + len(rows)] for n in range(count)], dim=1))
        return torch.cat(unfolded)

    def _sequences(self, x: Tensor) -> Sequence[Tensor]:
        """Rows of each sequence: all of them, or the one where x has a row per sequence."""
        bounds = self._cu_seqlens
        if len(x) == len(bounds) - 1:
            bounds = list(range(len(bounds)))
        return [x[start:end] for start, end in pairwise(bounds)]


def _attend(
    query: Tensor, key: Tensor, value: Tensor, pattern: AttentionPattern, head_length: int
) -> Tensor:
    """One sequence's context; a single query row among more keys is the first or last token's."""
    num_shared = pattern.num_heads // pattern.num_kv_heads
    q = _heads(query, pattern.num_heads).transpose(0, 1)  # (num_heads, queries, head_dim)
    k, v = (
        _heads(x, pattern.num_kv_heads).transpose(0, 1).repeat_interleave(num_shared, dim=0)
        for x in (key, value)
    )
    reads_last = pattern.causal or pattern.query_independent
    first_query = len(key) - len(query) if reads_last else 0
    places = torch.arange(first_query, first_query + len(query))[:, None]
    distance = places - torch.arange(len(key))
    rounded = pattern.rounded and len(key) <= rounded_attention.MAX_KEYS
    if rounded:
        factor = rounded_attention.largest_factor(q.shape[2])
        scores = _on_grid(q, factor) @ _on_grid(k, factor).transpose(1, 2)
    else:
        scores = q @ k.transpose(1, 2)  # (num_heads, queries, keys)
    if pattern.relative is not None:
        scores = scores + _relative_scores(q, k, distance, pattern.relative)
    if pattern.position_bias is not None:
        bias = _tensor(pattern.position_bias)
        scores = scores + bias[:, bias.shape[1] // 2 - distance]
    scores = scores * pattern.scale
    if pattern.cap:
        scores = (scores / pattern.cap).tanh() * pattern.cap
    if pattern.window is not None:
        scores = scores.masked_fill(distance.abs() > pattern.window, -torch.inf)
    if pattern.causal:
        scores = scores.masked_fill(distance < 0, -torch.inf)
    if pattern.query_independent:
        is_beyond_head = torch.arange(len(key)) >= head_length
        scores = scores.masked_fill((places < head_length) & is_beyond_head, -torch.inf)
    if rounded:
        weights, v = _rounded_softmax(scores), _on_grid(v, rounded_attention.MAX_VALUE)
    else:
        weights = scores.softmax(dim=-1)
    return (weights @ v).transpose(0, 1).flatten(1)


def _on_grid(x: Tensor, largest: int) -> Tensor:
    """Each head's (rows, head_dim) in whole steps, of which the largest number is `largest`."""
    reach = x.abs().amax(dim=(1, 2), keepdim=True)
    inverse = torch.where(reach > 0, largest / reach, 0.0)
    return (x * inverse).round() * (reach / largest)


def _rounded_softmax(scores: Tensor) -> Tensor:
    exponentials = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    sums = exponentials.sum(dim=-1, keepdim=True)
    most = rounded_attention.largest_weights(scores.shape[2])
    inverse = (most / sums).floor().clamp(max=rounded_attention.MAX_WEIGHT)
    return (exponentials * inverse).round() / (inverse * sums)


def _relative_scores(
    q: Tensor, k: Tensor, distance: Tensor, relative: RelativeTables
) -> Tensor | float:
    """Unscaled disentangled terms: q (num_heads, queries, width) → (num_heads, queries, keys)."""
    buckets = _tensor(relative.bucket_of_distance).long()
    rows = buckets[distance + len(buckets) // 2]  # (queries, keys)
    num_heads = len(q)
    scores: Tensor | float = 0.0
    if relative.keys is not None:
        keys = _heads(_tensor(relative.keys), num_heads).transpose(0, 1)
        scores = (q @ keys.transpose(1, 2)).gather(2, rows.expand(num_heads, -1, -1)) + scores
    if relative.queries is not None:
        queries = _heads(_tensor(relative.queries), num_heads).transpose(0, 1)
        by_key = (k @ queries.transpose(1, 2)).gather(2, rows.T.expand(num_heads, -1, -1))
        scores = by_key.transpose(1, 2) + scores
    return scores


def _quantized_product(x: Tensor, weight: QuantizedMatrix) -> Tensor:
    """x Wᵀ with each row of x as bytes, x ≈ step * (value - zero), and exact sums."""
    if weight.input_scales is not None:
        x = x * _tensor(weight.input_scales)
    low, high = x.amin(dim=1, keepdim=True).clamp(max=0), x.amax(dim=1, keepdim=True).clamp(min=0)
    usable = high - low > _SMALLEST_RANGE
    inverse = torch.where(usable, MAX_QUANTIZED_ACTIVATION / (high - low), 0.0)
    zero = (0.5 - low * inverse).floor()
    values = ((x * inverse).round() + zero).clamp(0, MAX_QUANTIZED_ACTIVATION)
    sums = (values - zero).double() @ _tensor(weight.values).double().T
    step = (high - low) / MAX_QUANTIZED_ACTIVATION
    return sums.float() * (step * _tensor(weight.scales))


def _heads(x: Tensor, num_heads: int) -> Tensor:
    """Columns parted into heads: (rows, width) → (rows, num_heads, head_dim)."""
    return x.reshape(len(x), num_heads, -1)


def _activate(x: Tensor, activation: Activation) -> Tensor:
    match activation:
        case "gelu":
            return functional.gelu(x)
        case "gelu_tanh":
            return functional.gelu(x, approximate="tanh")
        case "relu":
            return x.relu()
        case "silu":
            return functional.silu(x)
        case "tanh":
            return x.tanh()


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
