"""Checkpoints whose logits are another's, times a slope and plus a level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from zen_fast.architectures import architecture_of
from zen_fast.checkpoint.loading import Checkpoint
from zen_fast.checkpoint.new_folder import require_changeable, write_changed
from zen_fast.checkpoint.tensors import TensorFiles
from zen_fast.errors import CheckpointError

_WEIGHT = "head.classifier.weight"
_BIAS = "head.classifier.bias"


def require_scalable(checkpoint: Checkpoint, out: Path) -> None:
    """Make sure that the model's one logit can be scaled and that nothing is written over.

    Raises:
        CheckpointError: the checkpoint is quantized, or its head is no classifier with one label
            and a bias.
        InvalidArgumentError: `out` holds something.
    """
    require_changeable(checkpoint, out)
    head = checkpoint.spec.head
    if head.is_generative or not head.classifier or not head.classifier_bias:
        raise CheckpointError(
            f"{checkpoint.folder} has no classifier with a bias, which the level would go into; "
            "scale its logits where you read them"
        )
    if head.num_labels != 1:
        raise CheckpointError(
            f"{checkpoint.folder} has {head.num_labels} labels; only a single one is scaled"
        )


def save_scaled(checkpoint: Checkpoint, slope: float, level: float, out: Path) -> int:
    """Write a checkpoint whose logits are `slope` times this one's, plus `level`.

    Only the classifier changes, which is stored in fp32: rounded, it would rank otherwise.

    Args:
        slope: above 0, so that every ranking stays.
        out: folder to make; must not exist, or be empty.

    Returns:
        Bytes of the new weights file.

    Raises: as `require_scalable`.
    """
    require_scalable(checkpoint, out)
    files = TensorFiles(checkpoint.folder)
    tensors = dict(files)
    architecture = architecture_of(checkpoint.config)
    for canonical, added in ((_WEIGHT, 0.0), (_BIAS, level)):
        (name,) = architecture.sources(canonical, files)
        values = np.asarray(slope * files[name].fp32() + added, np.float32)
        tensors[name] = replace(files[name], dtype="F32", stored=values)
    return write_changed(checkpoint, out, tensors)
