"""Two segments in one sequence that hardly see each other.

A BERT cross-encoder reads query and document as one sequence, where the layers of a bi-encoder
would mix what they were made to keep apart. Here one hidden coordinate carries the segment, and
every attention head gives up its least used direction to a gate on it; two neurons of each layer
keep the coordinate's size. The encoder then embeds each segment nearly as if it stood alone, and
all its weights stay ordinary, trainable BERT weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import BertModel

from zen_fast.train.student.sample import layers_of

_FLAG = 2.0
"""Mean size of the segment coordinate behind every LayerNorm: - in the query, + in the document."""
_EMBEDDED_FLAG = 0.1
"""The same in the token type embeddings, before the first LayerNorm."""
_LEVELLERS = 2
"""Neurons of each feed-forward part that bring the segment coordinate back towards its mean size.
Every LayerNorm divides it by another deviation for each token; f - 2 gelu(f - 2) is within 14 % of
2 for f between 1.4 and 2.6."""
_GATE = 3.0
"""A token of the other segment gets exp(-2 * gate) of the attention that its own would get: 0.2 %,
little enough to embed as if alone, enough for training to find the other segment."""


@dataclass(frozen=True)
class Reserved:
    """Hidden coordinates that the encoder carries but does not compute with."""

    segment: int
    """Tells query from document."""
    words: int
    """Zero, until a head marks repeated words here."""

    @property
    def all(self) -> list[int]:
        return [self.segment, self.words]


@torch.no_grad()
def separate_segments(encoder: BertModel, read_typical: Callable[[], object]) -> Reserved:
    """Rebuild a bi-encoder in place so that two segments in one sequence hardly see each other.

    Args:
        read_typical: lets the encoder read typical texts, which tells what it uses least.
    """
    seen = _observe(encoder, read_typical)
    segment, words = seen.coordinate_use.argsort()[:2].tolist()
    reserved = Reserved(segment, words)
    for layer, moments in zip(layers_of(encoder), seen.head_moments, strict=True):
        _turn_least_used_first(layer.attention.self, moments)
    _set_flags(encoder, reserved, seen)
    keep_segments_apart(encoder, reserved)
    return reserved


@torch.no_grad()
def restore_flags(
    encoder: BertModel, reserved: Reserved, read_typical: Callable[[], object]
) -> None:
    """Give the reserved coordinates their size again behind every LayerNorm.

    Training moves the deviations that the norms divide by. While segments are read alone the loss
    does not tell: there the gates have nothing to keep out.
    """
    _set_flags(encoder, reserved, _observe(encoder, read_typical))


@torch.no_grad()
def keep_segments_apart(encoder: BertModel, reserved: Reserved) -> None:
    """Put the reserved coordinates and the gates back where an optimizer's step moved them."""
    embeddings: Any = encoder.embeddings
    types = embeddings.token_type_embeddings.weight
    for table in (embeddings.word_embeddings, embeddings.position_embeddings):
        table.weight[:, reserved.all] = 0
    types[:, reserved.words] = 0
    types[0, reserved.segment], types[1, reserved.segment] = -_EMBEDDED_FLAG, _EMBEDDED_FLAG
    for norm in _norms(encoder):
        norm.bias[reserved.all] = 0
    head_size = encoder.config.hidden_size // encoder.config.num_attention_heads
    gate = math.sqrt(_GATE * math.sqrt(head_size)) / _FLAG
    for layer in layers_of(encoder):
        for writer in (layer.attention.output.dense, layer.output.dense):
            writer.weight[reserved.all] = 0
            writer.bias[reserved.all] = 0
        for reader in _readers(layer):
            reader.weight[:, reserved.all] = 0
        for side in (layer.attention.self.query, layer.attention.self.key):
            side.weight[::head_size] = 0
            side.bias[::head_size] = 0
            side.weight[::head_size, reserved.segment] = gate
        _level(layer, reserved.segment)


def _level(layer: Any, segment: int) -> None:
    """One neuron for the document's + and one for the query's -."""
    inputs, outputs = layer.intermediate.dense, layer.output.dense
    signs = inputs.weight.new_tensor([1.0, -1.0])
    inputs.weight[-_LEVELLERS:] = 0
    inputs.weight[-_LEVELLERS:, segment] = signs
    inputs.bias[-_LEVELLERS:] = -_FLAG
    outputs.weight[:, -_LEVELLERS:] = 0
    outputs.weight[segment, -_LEVELLERS:] = -2.0 * signs


def _set_flags(encoder: BertModel, reserved: Reserved, seen: _Observation) -> None:
    carried = _EMBEDDED_FLAG
    for norm, inverse_deviations in zip(_norms(encoder), seen.inverse_deviations, strict=True):
        norm.weight[reserved.all] = _FLAG / (carried * fmean(inverse_deviations))
        carried = _FLAG


def _observe(encoder: BertModel, read_typical: Callable[[], object]) -> _Observation:
    seen = _Observation(encoder)
    read_typical()
    seen.end()
    return seen


class _Observation:
    """What goes on inside an encoder while it reads, by hooks."""

    def __init__(self, encoder: BertModel) -> None:
        size, heads = encoder.config.hidden_size, encoder.config.num_attention_heads
        layers = layers_of(encoder)
        self.coordinate_use = torch.zeros(size)
        """(hidden) energy that reaches the layers' linears through each coordinate."""
        self.head_moments = [torch.zeros(heads, size // heads, size // heads) for _ in layers]
        """Per layer (num_heads, head_dim, head_dim): second moments of queries and keys."""
        self.inverse_deviations: list[list[float]] = [[] for _ in _norms(encoder)]
        """Per LayerNorm: mean over the tokens of 1 / standard deviation, once per text batch."""
        self._hooks: list[Any] = []
        for layer, moments in zip(layers, self.head_moments, strict=True):
            for reader in _readers(layer):
                self._hook(reader, self._observe_use)
            for side in (layer.attention.self.query, layer.attention.self.key):
                self._hook(side, lambda _, __, out, to=moments: _add_moments(out, to))
        for norm, found in zip(_norms(encoder), self.inverse_deviations, strict=True):
            self._hook(
                norm,
                lambda _, given, __, to=found: to.append(float(given[0].std(-1).pow(-1).mean())),
            )

    def end(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _hook(self, module: Any, action: Callable[..., None]) -> None:
        self._hooks.append(module.register_forward_hook(action))

    def _observe_use(self, reader: Any, given: tuple[Tensor], _: Tensor) -> None:
        energy = given[0].flatten(0, -2).square().mean(dim=0)
        self.coordinate_use += energy * reader.weight.square().sum(dim=0)


def _add_moments(rows: Tensor, total: Tensor) -> None:
    """Queries and keys count alike, whatever their sizes."""
    by_head = rows.flatten(0, -2).view(-1, total.shape[0], total.shape[1])
    moments = torch.einsum("nhi,nhj->hij", by_head, by_head)
    total += moments / moments.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]


def _turn_least_used_first(attention: Any, moments: Tensor) -> None:
    """Rotate each head's queries and keys together, which changes none of their products."""
    head_size = moments.shape[1]
    for head, moment in enumerate(moments):
        rotation = torch.linalg.eigh(moment).eigenvectors.T  # the smallest eigenvalue's first
        rows = slice(head * head_size, (head + 1) * head_size)
        for side in (attention.query, attention.key):
            side.weight[rows] = rotation @ side.weight[rows]
            side.bias[rows] = rotation @ side.bias[rows]


def _readers(layer: Any) -> list[Any]:
    """The linears of a layer that read the hidden states."""
    attention = layer.attention.self
    return [attention.query, attention.key, attention.value, layer.intermediate.dense]


def _norms(encoder: BertModel) -> list[Any]:
    """Every LayerNorm, in the order in which they are applied."""
    embedding: Any = encoder.embeddings.LayerNorm
    inner = [
        norm
        for layer in layers_of(encoder)
        for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm)
    ]
    return [embedding, *inner]
