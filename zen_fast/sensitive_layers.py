"""Which layers of a language model lose too much in int8, found by running them on real text.

Language models grow activations a hundred times as large as their neighbours, in a few channels and
mostly in a few layers (Dettmers et al., NeurIPS 2022, arXiv 2208.07339; Sun et al., COLM 2024,
arXiv 2402.17762). A row that is quantized by itself keeps them from spoiling other tokens, but not
the small channels of the same token. Where that matters depends on the weights, so it is measured:
each layer computes the same input in fp32 and in int8, and those that change it otherwise stay in
fp32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zen_fast.batching import PackedBatch, TokenizedPair, pack
from zen_fast.encoder import Encoder
from zen_fast.quantization import quantize_weights
from zen_fast.spec import EncoderSpec
from zen_fast.tokenization import PairTokenizer, PromptTokenizer
from zen_fast.weights import Weights, layer_of

LARGEST_ERROR = 0.08
"""Of what a layer adds to the residual stream, as a root mean square over tokens: layers without
such activations are at 0.03 (`benchmarks/sensitive_layers.py`)."""

_QUERIES = (
    "what causes climate change",
    "how to reverse a linked list in python",
    "Wie lange dauert die Bahnfahrt von Berlin nach Wien?",
    "GDP growth 2019 vs 2020",
)
_DOCUMENTS = (
    "Burning coal, oil and gas releases carbon dioxide, which traps heat in the atmosphere. "
    "Forests that are cut down no longer take it up, and the oceans grow warmer and more acid.",
    "def reverse(node):\n    previous = None\n    while node:\n        node.next, previous, node = "
    "previous, node, node.next\n    return previous",
    "Der Nachtzug fährt um 20:58 Uhr ab und ist nach etwa elf Stunden am Ziel.",
    "| year | growth |\n|---|---|\n| 2019 | 2.3 % |\n| 2020 | -3.4 % |",
)
_INSTRUCTION = "Find the passages that answer the question"


def sensitive_layers(
    spec: EncoderSpec, weights: Weights, tokenizer: PairTokenizer | PromptTokenizer
) -> tuple[int, ...]:
    """The layers to keep in fp32 where int8 is asked for; none of an encoder that is not causal.

    Args:
        weights: not quantized.
    """
    if not spec.causal:
        return ()
    errors = layer_errors(spec, weights, _sample(tokenizer))
    return tuple(index for index, error in enumerate(errors) if error > LARGEST_ERROR)


def layer_errors(
    spec: EncoderSpec, weights: Weights, pairs: Sequence[TokenizedPair]
) -> NDArray[np.float64]:
    """How far int8 is off in each layer: (num_layers,), relative to what the layer adds.

    Every layer is fed the states that fp32 gives, so that one layer's error is not the next one's.
    """
    batch = pack(pairs, spec)
    # Causal models have no positions to add and no norm here.
    states = weights["embeddings.token"][batch.token_ids].astype(np.float32) * spec.embedding_scale
    errors = []
    for index in range(spec.num_layers):
        layer = _layer(weights, index)
        exact = _advance(spec, layer, index, batch, states)
        rounded = _advance(spec, quantize_weights(layer, spec), index, batch, states)
        added = np.square(exact - states).sum()
        errors.append(float(np.sqrt(np.square(rounded - exact).sum() / added)) if added else 0.0)
        states = exact
    return np.array(errors)


def _layer(weights: Weights, index: int) -> Weights:
    """Everything but the other layers."""
    return Weights(
        {name: tensor for name, tensor in weights.items() if layer_of(name) in (index, None)},
        weights.norm_eps,
        weights.norm_centred,
    )


def _advance(
    spec: EncoderSpec,
    layer: Weights,
    index: int,
    batch: PackedBatch,
    states: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The states after layer `index`, from those before it."""
    from zen_fast.backends.cpu import CpuBackend  # no other backend needs the extension

    # Three times over, for a run from the pause behind the first to that behind the second.
    copies = {
        name.replace(f"layers.{index}.", f"layers.{copy}.", 1): tensor
        for name, tensor in layer.items()
        for copy in range(3)
    }
    encoder = Encoder(
        replace(spec, layers=(spec.layers[index],) * 3),
        Weights(copies, layer.norm_eps, layer.norm_centred),
    )
    return CpuBackend(encoder).advance(batch, states, range(1, 2))


def _sample(tokenizer: PairTokenizer | PromptTokenizer) -> list[TokenizedPair]:
    """Every query with every document, and an instruction where the prompt has none of its own."""
    queries = [query for query in _QUERIES for _ in _DOCUMENTS]
    instruction = None
    if isinstance(tokenizer, PromptTokenizer):
        template = tokenizer.template
        if template.takes_instruction and template.default_instruction is None:
            instruction = _INSTRUCTION
    return tokenizer.encode_pairs(queries, list(_DOCUMENTS) * len(_QUERIES), instruction)
