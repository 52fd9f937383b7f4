"""Between the weights of two models, where there may be a better one than both.

Between a fine-tuned model and the one it came from is one that is better on texts unlike the
training's: Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models" (CVPR 2022, arXiv 2109.01903).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers import BertForSequenceClassification

from zen_fast.errors import InvalidArgumentError
from zen_fast.train.start import load_cross_encoder


def mix_with_start(tuned: BertForSequenceClassification, start: Path, start_share: float) -> None:
    """Move every weight towards that of the model in folder `start`, in place.

    Args:
        start_share: 0 changes nothing, 1 restores the start.
    """
    before: Mapping[str, Tensor] = load_file(start / "model.safetensors")
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            weight.lerp_(before[name].to(weight.device, weight.dtype), start_share)


def average_with(start: BertForSequenceClassification, tokenizer: Tokenizer, other: str) -> None:
    """Move every weight of a start half of the way towards another model's, in place.

    Args:
        other: an embedded model, a folder or a hub id.

    Raises:
        ModelNotFoundError: there is no such model.
        InvalidArgumentError: its weights have other names or shapes, or its tokenizer other words.
    """
    model, its_tokenizer = load_cross_encoder(other, "auto")
    weights, ours = dict(model.named_parameters()), dict(start.named_parameters())
    different = sorted(
        name
        for name in weights.keys() | ours.keys()
        if name not in weights or name not in ours or weights[name].shape != ours[name].shape
    )
    if its_tokenizer.get_vocab() != tokenizer.get_vocab():
        different.insert(0, "the vocabulary")
    if different:
        raise InvalidArgumentError(
            f"{other} cannot be averaged with the start, which differs in "
            f"{', '.join(different[:3])}; start_averaged_with takes a model of the same kind"
        )
    with torch.no_grad():
        for name, weight in ours.items():
            weight.lerp_(weights[name].to(weight.dtype), 0.5)
