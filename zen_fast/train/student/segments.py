"""Two segments in one sequence that hardly see each other.

A BERT cross-encoder reads query and document as one sequence, where the layers of a bi-encoder
would mix what they were made to keep apart. Here one hidden coordinate is set in the query, another
in the document and a third nowhere, and every attention head gives up its two least used directions
to gates on the differences from the third. LayerNorms change the coordinates' sizes, by another
share at each token, yet what is not set stays equal to what never is: no token is ever hidden from
its own segment. Four neurons of each layer keep the size of what is set. The encoder then embeds
each segment nearly as if it stood alone, and all its weights stay ordinary, trainable BERT weights.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import BertModel

from zen_fast.train.student.observing import (
    inverse_deviations,
    norms_of,
    observe_use,
    readers_of,
)
from zen_fast.train.student.sample import layers_of

FLAG = 3.0
"""Mean size of a segment's coordinate behind every LayerNorm, at that segment's tokens."""
_EMBEDDED_FLAG = 0.1
"""The same in the token type embeddings, before the first LayerNorm."""
_GAIN = 1.5
"""A feed-forward part multiplies a flag, up to `FLAG`: a token that LayerNorms divide by more than
others does not lose its flag layer by layer."""
_SHARPNESS = 2.0
"""gelu(sharpness * x) / sharpness is close to max(x, 0), and is 0 at 0."""
_GATE = 5.0
"""A token of the other segment gets exp(-gate) of the attention that its own would get. A long
document then has a tenth of a query's attention: little enough for distillation to look past, and
enough for training to find the other segment (with 8 it did not)."""


@dataclass(frozen=True)
class Reserved:
    """Hidden coordinates that the encoder carries but does not compute with."""

    query: int
    """Set at the query's tokens."""
    document: int
    """Set at the document's tokens."""
    unset: int
    """Never set: what LayerNorms make of zero."""
    words: int
    """As `unset`, until a head marks repeated words here."""

    @property
    def segments(self) -> list[int]:
        return [self.query, self.document]

    @property
    def all(self) -> list[int]:
        return [*self.segments, self.unset, self.words]


@torch.no_grad()
def separate_segments(encoder: BertModel, read_typical: Callable[[], object]) -> Reserved:
    """Rebuild a bi-encoder in place so that two segments in one sequence hardly see each other.

    Args:
        read_typical: lets the encoder read typical texts, which tells what it uses least.
    """
    coordinate_use, head_moments = observe_use(encoder, read_typical)
    reserved = Reserved(*coordinate_use.argsort()[:4].tolist())
    for layer, moments in zip(layers_of(encoder), head_moments, strict=True):
        _turn_least_used_first(layer.attention.self, moments)
    keep_segments_apart(encoder, reserved)
    restore_flags(encoder, reserved, read_typical)
    return reserved


@torch.no_grad()
def restore_flags(
    encoder: BertModel, reserved: Reserved, read_typical: Callable[[], object]
) -> None:
    """Give what is set its size again behind every LayerNorm.

    Training moves the deviations that the norms divide by. While segments hardly see each other
    the loss hardly tells.
    """
    growth = FLAG / _EMBEDDED_FLAG
    inverses = inverse_deviations(encoder, read_typical)
    for norm, inverse in zip(norms_of(encoder), inverses, strict=True):
        norm.weight[reserved.all] = growth / inverse
        growth = 1.0


@torch.no_grad()
def keep_segments_apart(encoder: BertModel, reserved: Reserved) -> None:
    """Put the reserved coordinates and the gates back where an optimizer's step moved them."""
    embeddings: Any = encoder.embeddings
    types = embeddings.token_type_embeddings.weight
    for table in (embeddings.word_embeddings, embeddings.position_embeddings):
        table.weight[:, reserved.all] = 0
    types[:, reserved.all] = 0
    types[[0, 1], reserved.segments] = _EMBEDDED_FLAG
    for norm in norms_of(encoder):
        norm.weight[reserved.all] = norm.weight[[reserved.unset]]
        norm.bias[reserved.all] = 0
    head_size = encoder.config.hidden_size // encoder.config.num_attention_heads
    for layer in layers_of(encoder):
        for writer in (layer.attention.output.dense, layer.output.dense):
            writer.weight[reserved.all] = 0
            writer.bias[reserved.all] = 0
        for reader in readers_of(layer):
            reader.weight[:, reserved.all] = 0
        _gate(layer.attention.self, reserved, head_size)
        _level(layer, reserved)


def _gate(attention: Any, reserved: Reserved, head_size: int) -> None:
    """One direction of each head hides the document from the query, the next the query from it."""
    strength = math.sqrt(_GATE * math.sqrt(head_size)) / FLAG
    for row, reading in enumerate(reserved.segments):
        hidden = reserved.segments[1 - row]
        for side, coordinate, gain in (
            (attention.query, reading, strength),
            (attention.key, hidden, -strength),
        ):
            side.weight[row::head_size] = 0
            side.bias[row::head_size] = 0
            side.weight[row::head_size, coordinate] = gain
            side.weight[row::head_size, reserved.unset] = -gain


def _level(layer: Any, reserved: Reserved) -> None:
    """The last neurons, two for each segment, make min(gain * f, FLAG) of its f."""
    inputs, outputs = layer.intermediate.dense, layer.output.dense
    ramps = ((0.0, _GAIN - 1), (FLAG / _GAIN, -_GAIN))
    levellers = list(itertools.product(reserved.segments, ramps))
    for neuron, (coordinate, (begin, slope)) in enumerate(levellers, start=-len(levellers)):
        inputs.weight[neuron] = 0
        inputs.weight[neuron, coordinate] = _SHARPNESS
        inputs.weight[neuron, reserved.unset] = -_SHARPNESS
        inputs.bias[neuron] = -_SHARPNESS * begin
        outputs.weight[:, neuron] = 0
        outputs.weight[coordinate, neuron] = slope / _SHARPNESS


def _turn_least_used_first(attention: Any, moments: Tensor) -> None:
    """Rotate each head's queries and keys together, which changes none of their products."""
    head_size = moments.shape[1]
    for head, moment in enumerate(moments):
        rotation = torch.linalg.eigh(moment).eigenvectors.T  # the smallest eigenvalue's first
        rows = slice(head * head_size, (head + 1) * head_size)
        for side in (attention.query, attention.key):
            side.weight[rows] = rotation @ side.weight[rows]
            side.bias[rows] = rotation @ side.bias[rows]
