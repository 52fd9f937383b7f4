"""An encoder's weights under canonical names, and the shape that each of them must have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zen_fast.spec import EncoderSpec

Array = NDArray[Any]

SCALES = "weight_scales"
INPUT_SCALES = "input_scales"
"""Last parts of the names under which a quantized weight's scales stand beside its values."""

EMBEDDING_TABLES = ("embeddings.token", "embeddings.position", "embeddings.token_type")

_QUANTIZABLE = re.compile(
    r"(decoder\.)?layers\.\d+\."
    r"((self_|cross_)?attention\.(qkv|query|key_value|value|output)|ffn\.(up|down))\.weight"
)
_LAYER = re.compile(r"layers\.(\d+)\.")
_SMOOTHED = re.compile(r"layers\.\d+\.ffn\.down\.weight")


def layer_of(name: str) -> int | None:
    """The encoder layer that this tensor belongs to."""
    found = _LAYER.match(name)
    return None if found is None else int(found.group(1))


def is_quantizable(name: str) -> bool:
    """Whether int8 stores this tensor as bytes: every layer's projections, where the work is."""
    return _QUANTIZABLE.fullmatch(name) is not None


def is_smoothed(name: str) -> bool:
    """Whether int8 gives this weight scales for its inputs too."""
    return _SMOOTHED.fullmatch(name) is not None


def beside(name: str, last_part: str) -> str:
    """The name of what stands beside the weight `name`: its SCALES or INPUT_SCALES."""
    return f"{name.removesuffix('.weight')}.{last_part}"


@dataclass(frozen=True)
class QuantizedMatrix:
    """A weight of 8-bit values, W ≈ scales[:, None] * values * input_scales.

    What it is multiplied with is quantized too, each row by itself, after its columns are
    multiplied by `input_scales`.
    """

    values: Array
    """(out, in) int8, within ±MAX_QUANTIZED"""
    scales: Array
    """(out,) fp32"""
    input_scales: Array | None = None
    """(in,) fp32, or None for ones"""

    def fp32(self) -> Array:
        """The matrix that the values stand for, (out, in)."""
        matrix: Array = self.values * self.scales[:, None]
        return matrix if self.input_scales is None else matrix * self.input_scales


@dataclass(frozen=True)
class Linear:
    """y = x Wᵀ + b, with weight (out, in) and bias (out,) or None."""

    weight: Array | QuantizedMatrix
    bias: Array | None
    is_projection: bool = False
    """Whether it is one of the layers' projections, which 8-bit precisions round to 8 bits."""

    @property
    def out_width(self) -> int:
        """Columns of the product."""
        weight = self.weight
        return len(weight.values if isinstance(weight, QuantizedMatrix) else weight)

    def fp32_weight(self) -> Array:
        """The weight as plain fp32."""
        weight = self.weight
        return weight.fp32() if isinstance(weight, QuantizedMatrix) else weight.astype(np.float32)


@dataclass(frozen=True)
class Norm:
    """A norm's weight (width,), bias (width,) or None, and epsilon."""

    weight: Array
    bias: Array | None
    eps: float
    centred: bool = True
    """LayerNorm; False for RMSNorm (Zhang and Sennrich, NeurIPS 2019, arXiv 1910.07467)."""


class Weights(Mapping[str, Array]):
    """Canonical tensor name → array: fp32, embedding tables fp32 or fp16, quantized weights int8.

    `parameter_shapes` names them all; beside each quantized weight stand its scales.
    """

    def __init__(
        self, tensors: dict[str, Array], norm_eps: float, norm_centred: bool = True
    ) -> None:
        self._tensors = tensors
        self.norm_eps = norm_eps
        self.norm_centred = norm_centred

    def __getitem__(self, name: str) -> Array:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def with_more(self, tensors: Mapping[str, Array]) -> Weights:
        """These weights and `tensors`."""
        more = copy(self)
        more._tensors = {**self._tensors, **tensors}
        return more

    @property
    def is_quantized(self) -> bool:
        """Whether projections are int8."""
        return any(name.endswith(SCALES) for name in self)

    @property
    def precision(self) -> str:
        """What a CPU computes projections in."""
        return "int8" if self.is_quantized else "fp32"

    def linear(self, name: str, rows: slice = slice(None)) -> Linear:
        """The projection `name`, or the slice of its output rows."""
        weight, bias = self[f"{name}.weight"][rows], self._tensors.get(f"{name}.bias")
        scales = self._tensors.get(f"{name}.{SCALES}")
        return Linear(
            weight
            if scales is None
            else QuantizedMatrix(weight, scales[rows], self._tensors.get(f"{name}.{INPUT_SCALES}")),
            None if bias is None else bias[rows],
            is_quantizable(f"{name}.weight"),
        )

    def norm(self, name: str) -> Norm:
        """The LayerNorm or RMSNorm `name`."""
        weight, bias = self[f"{name}.weight"], self._tensors.get(f"{name}.bias")
        return Norm(weight, bias, self.norm_eps, self.norm_centred)


def parameter_shapes(spec: EncoderSpec) -> dict[str, tuple[int, ...]]:
    """Every canonical tensor of `spec` with its shape: what a checkpoint must provide."""
    shapes: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out_width: int, in_width: int, bias: bool) -> None:
        shapes[f"{name}.weight"] = (out_width, in_width)
        if bias:
            shapes[f"{name}.bias"] = (out_width,)

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = (width,)
        if spec.norm_bias:
            shapes[f"{name}.bias"] = (width,)

    def feed_forward(name: str) -> None:
        up_width = spec.intermediate_size * (1 if spec.gate == "none" else 2)
        linear(f"{name}.up", up_width, hidden, spec.ffn_up_bias)
        linear(f"{name}.down", hidden, spec.intermediate_size, spec.ffn_down_bias)
        norm(f"{name}.norm", hidden)

    hidden, embedding = spec.hidden_size, spec.embedding_width
    shapes["embeddings.token"] = (spec.vocab_size, embedding)
    if spec.num_positions:
        shapes["embeddings.position"] = (spec.num_positions, embedding)
    if spec.num_token_types:
        shapes["embeddings.token_type"] = (spec.num_token_types, embedding)
    if spec.embedding_norm:
        norm("embeddings.norm", hidden if spec.embedding_projection_first else embedding)
    if embedding != hidden:
        linear("embeddings.projection", hidden, embedding, bias=spec.embedding_projection_bias)

    for index, layer in enumerate(spec.layers):
        name = f"layers.{index}"
        qkv_width = spec.query_width + 2 * spec.key_width
        linear(f"{name}.attention.qkv", qkv_width, hidden, spec.attention_bias)
        linear(f"{name}.attention.output", hidden, spec.query_width, spec.attention_output_bias)
        if layer.attention_norm:
            norm(f"{name}.attention.norm", hidden)
        if spec.query_key_norm:
            norm(f"{name}.attention.query_norm", spec.head_dim)
            norm(f"{name}.attention.key_norm", spec.head_dim)
        feed_forward(f"{name}.ffn")
        if spec.norm_position == "both":
            norm(f"{name}.attention.output_norm", hidden)
            norm(f"{name}.ffn.output_norm", hidden)
        if spec.relative is not None and not spec.relative.shares_projections:
            if spec.relative.content_to_position:
                linear(f"{name}.attention.relative_key", hidden, hidden, bias=True)
            if spec.relative.position_to_content:
                linear(f"{name}.attention.relative_query", hidden, hidden, bias=True)

    if spec.relative is not None:
        shapes["relative.table"] = (2 * spec.relative.num_buckets, hidden)
        if spec.relative.table_norm:
            norm("relative.norm", hidden)
    if spec.position_bias is not None:
        shapes["position_bias"] = (spec.position_bias.num_buckets, spec.num_heads)
    if spec.convolution is not None:
        shapes["convolution.weight"] = (hidden, hidden, spec.convolution.kernel_size)
        shapes["convolution.bias"] = (hidden,)
        norm("convolution.norm", hidden)
    if spec.final_norm:
        norm("final_norm", hidden)
    if spec.decoder is not None:
        for index in range(spec.decoder.num_layers):
            name = f"decoder.layers.{index}"
            norm(f"{name}.self_attention.norm", hidden)
            linear(f"{name}.self_attention.value", spec.key_width, hidden, bias=False)
            linear(f"{name}.self_attention.output", hidden, spec.key_width, bias=False)
            norm(f"{name}.cross_attention.norm", hidden)
            linear(f"{name}.cross_attention.query", spec.query_width, hidden, bias=False)
            linear(f"{name}.cross_attention.key_value", 2 * spec.key_width, hidden, bias=False)
            linear(f"{name}.cross_attention.output", hidden, spec.query_width, bias=False)
            feed_forward(f"{name}.ffn")
        norm("decoder.final_norm", hidden)
    width = hidden
    if spec.head.dense:
        width = spec.head.dense_width or hidden
        linear("head.dense", width, hidden, spec.head.dense_bias)
    if spec.head.norm:
        norm("head.norm", width)
    if spec.head.classifier:
        linear("head.classifier", spec.head.num_labels, width, spec.head.classifier_bias)
    return shapes


def part_rows(spec: EncoderSpec, num_rows: int, num_parts: int) -> tuple[int, ...]:
    """Rows of each of the parts that a checkpoint stacks to a tensor of `num_rows`.

    Three are the query's, the key's and the value's; else all are alike.
    """
    if num_parts == 3:
        return spec.query_width, spec.key_width, spec.key_width
    return (num_rows // num_parts,) * num_parts
