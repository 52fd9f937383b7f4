"""Checkpoints in their own format whose projections int8 holds as they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from zen_fast.architectures import architecture_of
from zen_fast.checkpoint.loading import Checkpoint
from zen_fast.checkpoint.new_folder import require_changeable, write_changed
from zen_fast.checkpoint.tensors import TensorFiles
from zen_fast.quantization import quantize_weights
from zen_fast.weights import SCALES, Array, beside, part_rows


def save_rounded(
    checkpoint: Checkpoint,
    out: Path,
    kept_layers: Collection[int] = (),
    moments: Mapping[str, Array] | None = None,
) -> int:
    """Write a checkpoint with every projection moved to the nearest that int8 holds.

    It stays what it was to any library, in the same kind of numbers. In int8 it then differs from
    itself by the rounding of activations, and by what rounding to its kind of numbers moves a
    weight off its step: little in fp16, up to an eighth of a step in bf16.

    Args:
        out: folder to make; must not exist, or be empty.
        kept_layers, moments: see `quantize_weights`.

    Returns:
        Bytes of the new weights file.

    Raises:
        CheckpointError: the checkpoint is quantized.
        InvalidArgumentError: `out` holds something.
    """
    spec = checkpoint.spec
    require_changeable(checkpoint, out)
    quantized = quantize_weights(checkpoint.weights, spec, kept_layers, moments)
    architecture = architecture_of(checkpoint.config)
    files = TensorFiles(checkpoint.folder)
    tensors = dict(files)
    for name in checkpoint.weights:
        if beside(name, SCALES) not in quantized:
            continue
        rounded = quantized.linear(name.removesuffix(".weight")).fp32_weight()
        sources = architecture.sources(name, files)
        ends = np.cumsum(part_rows(spec, len(rounded), len(sources)))
        for source, part in zip(sources, np.split(rounded, ends[:-1]), strict=True):
            tensors[source] = files[source].with_values(part)
    return write_changed(checkpoint, out, tensors)
