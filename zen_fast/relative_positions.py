"""DeBERTa's relative-position tables, projected once per layer because no input changes them."""

from __future__ import annotations

import numpy as np

from zen_fast.ops import RelativeTables
from zen_fast.spec import EncoderSpec, RelativeAttentionSpec
from zen_fast.weights import Array, Linear, Norm, Weights


def relative_tables(spec: EncoderSpec, weights: Weights) -> tuple[RelativeTables | None, ...]:
    """One entry per layer; None for encoders without disentangled attention."""
    relative = spec.relative
    if relative is None:
        return (None,) * spec.num_layers
    table = weights["relative.table"].astype(np.float32)
    if relative.table_norm:
        table = _layer_norm(table, weights.norm("relative.norm"))
    buckets = bucket_of_distance(relative, spec.max_length)
    query_rows, key_rows = (slice(n * spec.hidden_size, (n + 1) * spec.hidden_size) for n in (0, 1))

    def layer_tables(index: int) -> RelativeTables:
        attention = f"layers.{index}.attention"
        if relative.shares_projections:
            key_layer = weights.linear(f"{attention}.qkv", key_rows)
            query_layer = weights.linear(f"{attention}.qkv", query_rows)
            keys = _project(table, key_layer) if relative.content_to_position else None
            queries = _project(table, query_layer) if relative.position_to_content else None
        else:
            keys = queries = None
            if relative.content_to_position:
                keys = _project(table, weights.linear(f"{attention}.relative_key"))
            if relative.position_to_content:
                queries = _project(table, weights.linear(f"{attention}.relative_query"))
        return RelativeTables(keys, queries, buckets)

    return tuple(layer_tables(index) for index in range(spec.num_layers))


def bucket_of_distance(relative: RelativeAttentionSpec, max_length: int) -> Array:
    """Table row for each distance i - j, from 1 - max_length: (2 * max_length - 1,) int32."""
    distance = np.arange(1 - max_length, max_length)
    bucket = distance
    if relative.log_buckets:
        middle = relative.num_buckets // 2
        magnitude = np.maximum(np.abs(distance), middle).astype(np.float32)
        # fp32 throughout, as the stock model computes it: ceil() is sensitive to the last bit.
        log_range = np.log(np.float32((relative.max_distance - 1) / middle))
        steps = np.log(magnitude / np.float32(middle)) / log_range * np.float32(middle - 1)
        logarithmic = (np.ceil(steps) + middle).astype(np.int64) * np.sign(distance)
        bucket = np.where(np.abs(distance) <= middle, distance, logarithmic)
    last_row = 2 * relative.num_buckets - 1
    return np.clip(bucket + relative.num_buckets, 0, last_row).astype(np.int32)


def _project(x: Array, layer: Linear) -> Array:
    projected: Array = x @ layer.fp32_weight().T
    return projected if layer.bias is None else projected + layer.bias


def _layer_norm(x: Array, norm: Norm) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    normed: Array = (
        centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + norm.eps) * norm.weight
    )
    return normed if norm.bias is None else normed + norm.bias
