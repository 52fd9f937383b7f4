"""Cutting a smaller bi-encoder out of a larger one."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertModel

from zen_fast.train.student.sample import layers_of


def cut_encoder(
    base: Path, layers: tuple[int, ...], kept_ids: list[int], pad_token_id: int
) -> BertModel:
    """Some layers and embedding rows of a BERT checkpoint.

    Dropout is off: a run sees each list about once.
    """
    config = BertConfig.from_pretrained(str(base))
    config.num_hidden_layers = len(layers)
    config.vocab_size = len(kept_ids)
    config.pad_token_id = pad_token_id
    config.hidden_dropout_prob = 0.0
    config.attention_probs_dropout_prob = 0.0
    encoder = BertModel(config, add_pooling_layer=False)
    state = encoder.state_dict()
    source = load_file(base / "model.safetensors")
    for name in state:
        parts = name.split(".")
        if parts[:2] == ["encoder", "layer"]:
            parts[2] = str(layers[int(parts[2])])
        tensor = source[".".join(parts)].float()
        state[name] = tensor[kept_ids] if parts[1] == "word_embeddings" else tensor
    encoder.load_state_dict(state)
    return encoder


@torch.no_grad()
def thin_feed_forwards(
    encoder: BertModel, num_neurons: int, read_typical: Callable[[], object]
) -> BertModel:
    """The encoder with the neurons of its feed-forward parts that contribute most.

    Args:
        num_neurons: kept of each layer's.
        read_typical: lets the encoder read typical texts, which tells what each contributes.
    """
    thin = copy.deepcopy(encoder.config)
    thin.intermediate_size = num_neurons
    result = BertModel(thin, add_pooling_layer=False)
    state = encoder.state_dict()
    for index, energy in enumerate(_neuron_energies(encoder, read_typical)):
        kept = energy.argsort(descending=True)[:num_neurons].sort().values
        name = f"encoder.layer.{index}"
        for part in (f"{name}.intermediate.dense.weight", f"{name}.intermediate.dense.bias"):
            state[part] = state[part][kept]
        state[f"{name}.output.dense.weight"] = state[f"{name}.output.dense.weight"][:, kept]
    result.load_state_dict(state)
    return result


def _neuron_energies(encoder: BertModel, read_typical: Callable[[], object]) -> list[Tensor]:
    """Per layer (intermediate_size,): energy that each neuron adds to the hidden states."""
    energies = [torch.zeros(encoder.config.intermediate_size) for _ in layers_of(encoder)]

    def observe(energy: Tensor, dense: torch.nn.Linear, given: tuple[Tensor]) -> None:
        activity = given[0].flatten(0, -2).square().sum(dim=0)
        energy += activity * dense.weight.square().sum(dim=0)

    hooks = [
        layer.output.dense.register_forward_hook(
            lambda dense, given, _, energy=energy: observe(energy, dense, given)
        )
        for layer, energy in zip(layers_of(encoder), energies, strict=True)
    ]
    read_typical()
    for hook in hooks:
        hook.remove()
    return energies
