"""Useful floating-point operations: what a forward pass must compute, padding left out.

One numerator for every engine, so that GFLOP/s compare. A multiply-add counts as two; norms,
activations, softmax and look-ups are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable

from zen_fast.spec import EncoderSpec, RelativeAttentionSpec


def useful_flops(spec: EncoderSpec, lengths: Iterable[int]) -> int:
    """Sum over sequences of these lengths, in tokens with special tokens."""
    return sum(_sequence_flops(spec, length) for length in lengths)


def _sequence_flops(spec: EncoderSpec, length: int) -> int:
    flops = 0
    if spec.embedding_width != spec.hidden_size:
        flops += 2 * length * spec.embedding_width * spec.hidden_size
    if spec.convolution is not None:
        flops += 2 * length * spec.convolution.kernel_size * spec.hidden_size**2
    for index in range(spec.num_layers):
        last = index == spec.num_layers - 1
        # A head that reads one token leaves the last layer one row to compute.
        rows = 1 if last and spec.head.pooling != "mean" else length
        flops += _layer_flops(spec, index, length, rows)
    if spec.decoder is not None:
        flops += spec.decoder.num_layers * _decoder_layer_flops(spec, length)
    return flops + _head_flops(spec)


def _decoder_layer_flops(spec: EncoderSpec, length: int) -> int:
    """One layer of a decoder's single step, whose keys and values are those of `length` tokens."""
    hidden, query_width, key_width = spec.hidden_size, spec.query_width, spec.key_width
    return (
        2 * 2 * hidden * key_width  # the value of the only token, and its projection
        + 2 * 2 * hidden * query_width  # query and output projection
        + 2 * hidden * 2 * key_width * length  # keys and values
        + 2 * 2 * query_width * length  # scores; their weighted sum of values
        + _ffn_flops(spec, 1)
    )


def _ffn_flops(spec: EncoderSpec, rows: int) -> int:
    num_matrices = 2 if spec.gate == "none" else 3
    return 2 * spec.hidden_size * spec.intermediate_size * num_matrices * rows


def _layer_flops(spec: EncoderSpec, index: int, length: int, rows: int) -> int:
    """One layer over `length` tokens, of which only `rows` leave it."""
    hidden, query_width = spec.hidden_size, spec.query_width
    scores = num_scores(spec.layers[index].window, length, rows, spec.causal)
    return (
        2 * hidden * (query_width * rows + 2 * spec.key_width * length)  # queries; keys and values
        + 2 * 2 * query_width * scores  # scores; their weighted sum of values
        + 2 * query_width * hidden * rows  # output projection
        + _ffn_flops(spec, rows)
        + _relative_flops(spec.relative, hidden, length, rows)
    )


def num_scores(window: int | None, length: int, rows: int, causal: bool = False) -> int:
    """Query-key pairs of the first `rows` queries, or of the last where attention is causal."""
    reach = length if window is None else window
    first = length - rows if causal else 0

    def num_keys(row: int) -> int:
        last_key = row if causal else min(length - 1, row + reach)
        return last_key - max(0, row - reach) + 1

    return sum(num_keys(row) for row in range(first, first + rows))


def _relative_flops(
    relative: RelativeAttentionSpec | None, hidden: int, length: int, rows: int
) -> int:
    """Each query (key) against the table rows its distances can reach."""
    if relative is None:
        return 0
    table_rows = min(2 * length - 1, 2 * relative.num_buckets)
    terms = rows * relative.content_to_position + length * relative.position_to_content
    return 2 * hidden * table_rows * terms


def _head_flops(spec: EncoderSpec) -> int:
    dense = spec.hidden_size**2 if spec.head.dense else 0
    classifier = spec.hidden_size * spec.head.num_labels if spec.head.classifier else 0
    return 2 * (dense + classifier)
