"""Rotary embeddings stretched for long contexts, as language models' configs name them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from zen_fast.architectures.rotary import inverse_frequencies
from zen_fast.architectures.settings import Settings
from zen_fast.weights import Array

_TYPES = ("default", "dynamic", "linear", "llama3", "yarn")


@dataclass(frozen=True)
class Rotary:
    """How a model turns its queries and keys."""

    inverse_frequencies: tuple[float, ...]
    """(head_dim / 2,)"""
    magnitude: float = 1.0
    """Factor on the turned queries and keys; its square is one on their products."""


def read_rotary(settings: Settings, head_dim: int) -> Rotary:
    """The rotary embedding of a config, in its old spelling (`rope_scaling`) or its new one.

    Raises:
        UnsupportedModelError: a scaling that is not known, or a number that is missing.
    """
    rope = settings.nested("rope_scaling")
    if not rope.config:
        rope = settings.nested("rope_parameters")
    for each in (settings, rope):
        each.require("partial_rotary_factor", 1.0, 1.0)
    theta = rope.number("rope_theta", settings.number("rope_theta", 10_000.0))
    name = "type" if "rope_type" not in rope.config else "rope_type"
    plain = inverse_frequencies(head_dim, theta)
    match rope.text(name, "default", _TYPES):
        case "linear":
            return Rotary(inverse_frequencies(head_dim, theta, _factor(rope)))
        case "llama3":
            return Rotary(_llama3(np.array(plain, np.float32), settings, rope))
        case "yarn":
            return _yarn(np.array(plain, np.float32), theta, settings, rope)
    # Dynamic scaling begins beyond max_position_embeddings, where this engine ends.
    return Rotary(plain)


def _factor(rope: Settings) -> float:
    factor = rope.number("factor", 0.0)
    if factor < 1:
        rope.refuse("factor", "a number of at least 1")
    return factor


def _trained_length(settings: Settings, rope: Settings) -> int:
    name = "original_max_position_embeddings"
    longest = settings.count("max_position_embeddings", 2048)
    return settings.count(name, rope.count(name, longest))


def _llama3(plain: Array, settings: Settings, rope: Settings) -> tuple[float, ...]:
    """Fast turns as they were, slow ones stretched, a ramp in between (Llama 3.1)."""
    factor, length = np.float32(_factor(rope)), _trained_length(settings, rope)
    low, high = rope.number("low_freq_factor", 0.0), rope.number("high_freq_factor", 0.0)
    if not 0 < low < high:
        rope.refuse("low_freq_factor", "a positive number below high_freq_factor")
    wavelength = np.float32(2 * math.pi) / plain
    kept = (length / wavelength - np.float32(low)) / np.float32(high - low)
    kept = kept.clip(0, 1)
    return tuple(((1 - kept) * plain / factor + kept * plain).tolist())


def _yarn(plain: Array, theta: float, settings: Settings, rope: Settings) -> Rotary:
    """Stretched by parts (Peng et al., "YaRN", ICLR 2024, arXiv 2309.00071)."""
    head_dim, length = 2 * len(plain), _trained_length(settings, rope)
    longest = settings.count("max_position_embeddings", 2048)
    factor = longest / length if rope.config.get("factor") is None else _factor(rope)
    truncate = rope.flag("truncate", True)

    def dimension(num_turns: float) -> float:
        """Where in the head a pair makes so many turns over the trained length."""
        turns = math.log(length / (num_turns * 2 * math.pi))
        return head_dim * turns / (2 * math.log(theta))

    first = dimension(rope.number("beta_fast", 32.0))
    last = dimension(rope.number("beta_slow", 1.0))
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, head_dim - 1)
    if first == last:
        last += 0.001
    pair = np.arange(len(plain), dtype=np.float32)
    kept = 1 - ((pair - np.float32(first)) / np.float32(last - first)).clip(0, 1)
    stretched = plain / np.float32(factor) * (1 - kept) + plain * kept
    return Rotary(tuple(stretched.tolist()), _yarn_magnitude(factor, rope))


def _yarn_magnitude(factor: float, rope: Settings) -> float:
    def magnitude(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    weight, all_dimensions = rope.number("mscale", 0.0), rope.number("mscale_all_dim", 0.0)
    ratio = magnitude(weight) / magnitude(all_dimensions) if weight and all_dimensions else None
    return rope.number("attention_factor", magnitude(1.0) if ratio is None else ratio)
