"""Quantized checkpoints: an ordinary folder whose safetensors file holds canonical tensors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zen_fast.checkpoint.loading import Checkpoint
from zen_fast.checkpoint.tensors import WEIGHTS_FILE
from zen_fast.errors import CheckpointError, InvalidArgumentError
from zen_fast.quantization import SCHEME, quantize_weights

_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "*_LogitScore/config.json",
    "chat_template.jinja",
    "prompt_template.json",
)
"""Patterns of the files that say how texts become what the model reads."""


def save_quantized(
    checkpoint: Checkpoint, source: str, out: Path, kept_layers: Sequence[int] = ()
) -> int:
    """Quantize a checkpoint to int8 and write it as a folder of its own.

    Args:
        source: name of the model, kept in config.json beside the scheme.
        out: folder to make; must not exist, or be empty.
        kept_layers: layers that stay in fp32, see `sensitive_layers`.

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
    if checkpoint.weights.is_quantized:
        raise CheckpointError(f"{checkpoint.folder} is quantized already")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidArgumentError(f"{out} exists; give a folder that does not, or an empty one")
    out.mkdir(parents=True, exist_ok=True)
    weights = quantize_weights(checkpoint.weights, checkpoint.spec, kept_layers)
    for path in (path for pattern in _COPIED for path in checkpoint.folder.glob(pattern)):
        copy = out / path.relative_to(checkpoint.folder)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
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
