"""What goes on inside an encoder while it reads."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from transformers import BertModel

from zen_fast.train.student.sample import layers_of

_Hooks = list[tuple[Any, Callable[..., None]]]


def observe_use(
    encoder: BertModel, read_typical: Callable[[], object]
) -> tuple[Tensor, list[Tensor]]:
    """What the layers' linears use.

    Returns:
        (hidden) energy that reaches them through each coordinate, and per layer
        (num_heads, head_dim, head_dim) second moments of queries and keys, which count alike.
    """
    size, heads = encoder.config.hidden_size, encoder.config.num_attention_heads
    coordinate_use = torch.zeros(size)
    head_moments = [torch.zeros(heads, size // heads, size // heads) for _ in layers_of(encoder)]

    def add_use(reader: Any, given: tuple[Tensor], _: Tensor) -> None:
        energy = given[0].flatten(0, -2).square().mean(dim=0)
        coordinate_use.add_(energy * reader.weight.square().sum(dim=0))

    def add_moments(total: Tensor, rows: Tensor) -> None:
        by_head = rows.flatten(0, -2).view(-1, total.shape[0], total.shape[1])
        moments = torch.einsum("nhi,nhj->hij", by_head, by_head)
        total += moments / moments.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]

    hooks: _Hooks = []
    for layer, total in zip(layers_of(encoder), head_moments, strict=True):
        hooks += [(reader, add_use) for reader in readers_of(layer)]
        for side in (layer.attention.self.query, layer.attention.self.key):
            hooks.append((side, lambda _, __, rows, to=total: add_moments(to, rows)))
    _read_hooked(read_typical, hooks)
    return coordinate_use, head_moments


def inverse_deviations(encoder: BertModel, read_typical: Callable[[], object]) -> list[float]:
    """Per LayerNorm, the mean over tokens of 1 / standard deviation."""
    found: list[list[float]] = [[] for _ in norms_of(encoder)]
    hooks: _Hooks = []
    for norm, some in zip(norms_of(encoder), found, strict=True):

        def add(_: Any, given: tuple[Tensor], __: Tensor, to: list[float] = some) -> None:
            to.append(float(given[0].float().std(dim=-1).reciprocal().mean()))

        hooks.append((norm, add))
    _read_hooked(read_typical, hooks)
    return [fmean(some) for some in found]


def readers_of(layer: Any) -> list[Any]:
    """The linears of a layer that read the hidden states."""
    attention = layer.attention.self
    return [attention.query, attention.key, attention.value, layer.intermediate.dense]


def norms_of(encoder: BertModel) -> list[Any]:
    """Every LayerNorm, in the order in which they are applied."""
    embedding: Any = encoder.embeddings.LayerNorm
    inner = [
        norm
        for layer in layers_of(encoder)
        for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm)
    ]
    return [embedding, *inner]


def _read_hooked(read: Callable[[], object], hooks: _Hooks) -> None:
    handles = [module.register_forward_hook(action) for module, action in hooks]
    read()
    for handle in handles:
        handle.remove()
