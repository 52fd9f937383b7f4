"""The student: a BERT cross-encoder cut out of a larger encoder, and its scores in training."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

# What sentence-transformers reads to know that a score is a probability.
_SENTENCE_TRANSFORMERS = {
    "activation_fn": "torch.nn.modules.activation.Sigmoid",
    "version": "5.0.0",
}


def cut_student(
    base: Path, layers: tuple[int, ...], kept_ids: list[int], pad_token_id: int
) -> BertForSequenceClassification:
    """Make a one-label cross-encoder from some layers and embedding rows of a BERT checkpoint.

    The classifier starts at random, from torch's generator. Dropout is off: a run sees each list
    about once.
    """
    config = BertConfig.from_pretrained(str(base))
    config.num_hidden_layers = len(layers)
    config.vocab_size = len(kept_ids)
    config.pad_token_id = pad_token_id
    config.hidden_dropout_prob = 0.0
    config.attention_probs_dropout_prob = 0.0
    config.num_labels = 1
    config.sentence_transformers = dict(_SENTENCE_TRANSFORMERS)
    student = BertForSequenceClassification(config)
    state = student.state_dict()
    source = load_file(base / "model.safetensors")
    for name in state:
        if not name.startswith("bert."):
            continue
        parts = name.removeprefix("bert.").split(".")
        if parts[:2] == ["encoder", "layer"]:
            parts[2] = str(layers[int(parts[2])])
        tensor = source[".".join(parts)].float()
        state[name] = tensor[kept_ids] if parts[1] == "word_embeddings" else tensor
    student.load_state_dict(state)
    return student


def pair_logits(
    student: BertForSequenceClassification, pairs: list[tuple[list[int], int]], chunk_size: int
) -> Tensor:
    """Score pairs of any lengths, in chunks of similar length so that padding is small.

    Args:
        pairs: (token ids, number of them that belong to [CLS] query [SEP]).
        chunk_size: pairs per forward.

    Returns:
        (num_pairs,) fp32 logits on the student's device, in the order of `pairs`.
    """
    order = sorted(range(len(pairs)), key=lambda index: len(pairs[index][0]))
    logits = []
    for start in range(0, len(order), chunk_size):
        chunk = [pairs[index] for index in order[start : start + chunk_size]]
        logits.append(_padded_logits(student, chunk))
    inverse = torch.empty(len(order), dtype=torch.long)
    inverse[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(logits)[inverse.to(student.device)]


def _padded_logits(
    student: BertForSequenceClassification, pairs: list[tuple[list[int], int]]
) -> Tensor:
    longest = max(len(ids) for ids, _ in pairs)
    input_ids = torch.full((len(pairs), longest), int(student.config.pad_token_id or 0))
    token_type_ids = torch.zeros_like(input_ids)
    attention_mask = torch.zeros_like(input_ids)
    for row, (ids, query_length) in enumerate(pairs):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        token_type_ids[row, query_length : len(ids)] = 1
        attention_mask[row, : len(ids)] = 1
    output = student(
        input_ids=input_ids.to(student.device),
        token_type_ids=token_type_ids.to(student.device),
        attention_mask=attention_mask.to(student.device),
    )
    return cast(Tensor, output.logits.squeeze(-1))
