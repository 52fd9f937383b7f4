"""Cutting a smaller bi-encoder out of a larger one."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from transformers import BertConfig, BertModel


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
