"""Quantized checkpoints: an ordinary folder whose safetensors file holds canonical tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_fast.checkpoint.loading import Checkpoint
from zen_fast.checkpoint.new_folder import require_changeable, start_folder
from zen_fast.checkpoint.tensors import WEIGHTS_FILE
from zen_fast.errors import CheckpointError
from zen_fast.quantization import SCHEME, quantize_weights
from zen_fast.weights import Array


def save_quantized(
    checkpoint: Checkpoint,
    source: str,
    out: Path,
    kept_layers: Sequence[int] = (),
    moments: Mapping[str, Array] | None = None,
) -> int:
    """Quantize a checkpoint to int8 and write it as a folder of its own.

    Args:
        source: name of the model, kept in config.json beside the scheme.
        out: folder to make; must not exist, or be empty.
        kept_layers, moments: see `quantize_weights`.

    Returns:
        Bytes of the new weights file.

    Raises:
        CheckpointError: the checkpoint is quantized already, or has no head.
        InvalidArgumentError: `out` holds something.
    """
    from safetensors.numpy import save_file

    if checkpoint.vocabulary is not None:
        raise CheckpointError(
            f"{checkpoint.folder} holds a language model without a classifier; say with "
            "Checkpoint.answering which tokens it answers with"
        )
    require_changeable(checkpoint, out)
    weights = quantize_weights(checkpoint.weights, checkpoint.spec, kept_layers, moments)
    start_folder(checkpoint, out)
    save_file(dict(weights), out / WEIGHTS_FILE, metadata={"format": "np"})
    (out / WEIGHTS_FILE).chmod(0o644)
    quantization = quantization_config(source, kept_layers)
    config = {**checkpoint.config, "quantization_config": quantization}
    # Last: a folder without config.json is no model, so a write cut short leaves none.
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return (out / WEIGHTS_FILE).stat().st_size


def quantization_config(source: str, kept_layers: Sequence[int]) -> Mapping[str, Any]:
    """What config.json says of a quantized checkpoint."""
    config = {"quant_method": "zen_fast", "scheme": SCHEME, "source": source}
    return config | ({"kept_layers": list(kept_layers)} if kept_layers else {})
