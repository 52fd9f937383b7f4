"""Between a fine-tuned model and the one it came from: better on texts unlike the training's.

Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models" (CVPR 2022, arXiv 2109.01903).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import BertForSequenceClassification


def mix_with_start(tuned: BertForSequenceClassification, start: Path, start_share: float) -> None:
    """Move every weight towards that of the model in folder `start`, in place.

    Args:
        start_share: 0 changes nothing, 1 restores the start.
    """
    before: Mapping[str, Tensor] = load_file(start / "model.safetensors")
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            weight.lerp_(before[name].to(weight.device, weight.dtype), start_share)
