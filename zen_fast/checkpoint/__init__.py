"""Checkpoints: find a model's files, map its tensors, assemble one encoder's weights."""

from zen_fast.checkpoint.loading import Checkpoint, load_checkpoint

__all__ = ["Checkpoint", "load_checkpoint"]
