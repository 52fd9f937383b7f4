"""A last layer that computes the cosine of two segments' means, out of ordinary BERT weights.

At every token, that of the score among them, half of the heads average the query's tokens and half
the document's, each on the same orthogonal directions. Scaled to be typically of one size, a and b,
they leave the LayerNorm with a product in proportion to a b / (a^2 + b^2), which where they are
equal hardly depends on either. The feed-forward part then multiplies them: gelu(x) + gelu(-x) is
close to 0.8 x^2 for small x, and a product is the difference of two squares,
4 a b = (a + b)^2 - (a - b)^2. Random rotations on the way spread every direction over all
coordinates, which leaves no weight much larger than its neighbours (int8 asks for that).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import BertConfig, BertForSequenceClassification, BertModel

from zen_fast.train.student.pattern import is_query_independent
from zen_fast.train.student.sample import TokenSample, layers_of
from zen_fast.train.student.segments import FLAG, Reserved

_CONTRAST = 40.0
"""A head gives a token of the other segment exp(-contrast) of the attention: enough where the
segment's coordinate has faded to a fifth. Tokens of its own segment all get the same."""
_BOOST = 8.0
"""The query's average outweighs what a token itself brings along by about this factor, and the
document's, which is of more tokens and smaller, is brought to the same size."""
_SQUARE_INPUT = 0.4
"""Scale of the inputs of gelu(x) + gelu(-x), small enough for a square."""
_SQUARE_GAIN = math.sqrt(2 / math.pi)
"""gelu(x) + gelu(-x) over x^2, at 0."""
_COPIES = 8
"""Coordinates that carry the cosine, so that none has to be large."""
_COSINE_SIZE = 4.0
"""What a cosine of 1 adds to each of them."""
_CLEARING_INPUT = 2.0
_FRESH_DEVIATION = 0.02

# What sentence-transformers reads to know that a score is a probability.
_SENTENCE_TRANSFORMERS = {
    "activation_fn": "torch.nn.modules.activation.Sigmoid",
    "version": "5.0.0",
}


@dataclass(frozen=True)
class Features:
    """Where the token that is scored, behind the last layer, carries what the classifier needs."""

    cosine: tuple[int, ...]
    words: int


@torch.no_grad()
def add_cosine_layer(
    encoder: BertModel, reserved: Reserved, sample: TokenSample
) -> tuple[BertForSequenceClassification, Features]:
    """The encoder, one layer more, and a classifier that still has to be set."""
    student = _with_one_layer_more(encoder)
    layer = layers_of(student.bert)[-1]
    half = student.config.hidden_size // 2
    num_products = min(half - 1, (student.config.intermediate_size - 2 * _COPIES) // 4)
    _clear(layer)
    _attend_to_segments(layer.attention.self, reserved, student.config.num_attention_heads)
    segment_means = sample.segment_means()
    means = segment_means.index_fill(1, torch.tensor(reserved.all), 0.0)
    directions = _shared_directions(means, num_products)
    query_size, document_size = (means[first::2].norm(dim=1).mean() for first in (0, 1))
    root = math.sqrt(_BOOST)
    value, output = layer.attention.self.value, layer.attention.output.dense
    mixing = _rotation(num_products) * root
    for first, scale in ((0, 1.0), (half, query_size / document_size)):
        side = slice(first, first + num_products)
        value.weight[side] = directions * root * scale
        output.weight[side, side] = mixing
    # Beside the average of the segment whose words are marked, and centred: behind the LayerNorm
    # it must not tell what that divides by.
    marked = 1 if is_query_independent(encoder.config) else 0
    words = (half, 2 * half)[marked] - 1
    marks = segment_means[marked::2, reserved.words] - segment_means[marked::2, reserved.unset]
    value.weight[words, [reserved.words, reserved.unset]] = torch.tensor([root, -root])
    output.weight[words, words] = root
    output.bias[words] = -_BOOST * marks.mean()
    features = Features((*range(_COPIES // 2), *range(half, half + _COPIES // 2)), words)
    _multiply(layer, num_products, half, features)
    return student, features


def _with_one_layer_more(encoder: BertModel) -> BertForSequenceClassification:
    config = BertConfig(
        **encoder.config.to_dict()
        | {
            "num_hidden_layers": encoder.config.num_hidden_layers + 1,
            "id2label": {0: "LABEL_0"},
            "label2id": {"LABEL_0": 0},
            "sentence_transformers": dict(_SENTENCE_TRANSFORMERS),
        }
    )
    student = BertForSequenceClassification(config)
    student.bert.load_state_dict(encoder.state_dict(), strict=False)
    return student


def _clear(layer: Any) -> None:
    attention = layer.attention
    linears = (attention.self.query, attention.self.key, attention.self.value)
    for linear in (*linears, attention.output.dense, layer.intermediate.dense, layer.output.dense):
        linear.weight.zero_()
        linear.bias.zero_()
    for norm in (attention.output.LayerNorm, layer.output.LayerNorm):
        norm.weight.fill_(1.0)
        norm.bias.zero_()


def _attend_to_segments(attention: Any, reserved: Reserved, num_heads: int) -> None:
    """The first half of the heads averages the query's tokens, the other the document's."""
    head_size = attention.query.weight.shape[0] // num_heads
    attention.query.bias[::head_size] = 1.0
    for head in range(num_heads):
        hidden = reserved.document if head < num_heads // 2 else reserved.query
        gain = -_CONTRAST * math.sqrt(head_size) / FLAG
        attention.key.weight[head * head_size, hidden] = gain
        attention.key.weight[head * head_size, reserved.unset] = -gain


def _shared_directions(means: Tensor, count: int) -> Tensor:
    """(count, hidden) orthonormal directions that keep most of the means, turned at random."""
    units = functional.normalize(means, dim=1)
    found: Tensor = torch.linalg.eigh(units.T @ units).eigenvectors.T[-count:]
    return _rotation(count) @ found


def _rotation(size: int) -> Tensor:
    rotation: Tensor = torch.linalg.qr(torch.randn(size, size)).Q
    return rotation


def _multiply(layer: Any, count: int, half: int, features: Features) -> None:
    """Add up the products of the two averages, coordinate by coordinate, in `features.cosine`."""
    inputs, outputs = layer.intermediate.dense.weight, layer.output.dense.weight
    turned = _rotation(count) * _SQUARE_INPUT
    for part, (query_sign, document_sign) in enumerate(((1, 1), (-1, -1), (1, -1), (-1, 1))):
        rows = slice(part * count, (part + 1) * count)
        inputs[rows, :count] = query_sign * turned
        inputs[rows, half : half + count] = document_sign * turned
    # LayerNorm leaves each half a squared norm of half the hidden size, give or take.
    gain = _COSINE_SIZE / (4 * _SQUARE_GAIN * _SQUARE_INPUT**2 * half)
    for copy, coordinate in enumerate(features.cosine):
        outputs[coordinate, : 2 * count] = gain
        outputs[coordinate, 2 * count : 4 * count] = -gain
        # gelu(x) - gelu(-x) is x: takes away what stands there.
        plus = 4 * count + 2 * copy
        inputs[plus, coordinate], inputs[plus + 1, coordinate] = _CLEARING_INPUT, -_CLEARING_INPUT
        outputs[coordinate, plus] = -1 / _CLEARING_INPUT
        outputs[coordinate, plus + 1] = 1 / _CLEARING_INPUT
    fresh = inputs[4 * count + 2 * _COPIES :]
    fresh.copy_(torch.randn_like(fresh) * _FRESH_DEVIATION)
