"""What attention scores owe to positions alone, computed once because no input changes it."""

from __future__ import annotations

import numpy as np

from zen_fast.ops import RelativeTables
from zen_fast.spec import EncoderSpec, PositionBiasSpec, RelativeAttentionSpec
from zen_fast.weights import Array, Linear, Norm, Weights


def relative_tables(spec: EncoderSpec, weights: Weights) -> tuple[RelativeTables | None, ...]:
    """DeBERTa's tables, projected for each layer; None for other encoders."""
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


def position_bias(spec: EncoderSpec, weights: Weights) -> Array | None:
    """T5's term for each head and offset of a key, as in `AttentionPattern`; None for others."""
    if spec.position_bias is None:
        return None
    buckets = bucket_of_offset(spec.position_bias, spec.max_length)
    return np.ascontiguousarray(weights["position_bias"].T[:, buckets], dtype=np.float32)


def bucket_of_offset(bias: PositionBiasSpec, max_length: int) -> Array:
    """Table row for each offset j - i, from 1 - max_length: (2 * max_length - 1,) int64."""
    offset = np.arange(1 - max_length, max_length)
    per_side = bias.num_buckets // 2
    num_exact = per_side // 2
    distance = np.maximum(np.abs(offset), 1).astype(np.float32)
    # fp32 throughout, as the stock model computes it: the cut is sensitive to the last bit.
    log_range = np.float32(np.log(bias.max_distance / num_exact))
    steps = np.log(distance / np.float32(num_exact)) / log_range * np.float32(per_side - num_exact)
    logarithmic = np.minimum(num_exact + steps.astype(np.int64), per_side - 1)
    bucket = np.where(np.abs(offset) < num_exact, np.abs(offset), logarithmic)
    rows: Array = bucket + per_side * (offset > 0)
    return rows


def _project(x: Array, layer: Linear) -> Array:
    projected: Array = x @ layer.fp32_weight().T
    return projected if layer.bias is None else projected + layer.bias


def _layer_norm(x: Array, norm: Norm) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    normed: Array = (
        centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + norm.eps) * norm.weight
    )
    return normed if norm.bias is None else normed + norm.bias
