"""A folder for a model that is written: what says how texts become ids comes with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from zen_fast.checkpoint.loading import Checkpoint
from zen_fast.checkpoint.tensors import WEIGHTS_FILE, StoredTensor, write_tensors
from zen_fast.errors import CheckpointError, InvalidArgumentError

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


def require_changeable(checkpoint: Checkpoint, out: Path) -> None:
    """Make sure that the weights are the model's own and that nothing is written over.

    Raises:
        CheckpointError: the checkpoint is quantized.
        InvalidArgumentError: `out` holds something.
    """
    if checkpoint.weights.is_quantized:
        raise CheckpointError(
            f"{checkpoint.folder} is quantized already; give what it was made from"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidArgumentError(f"{out} exists; give a folder that does not, or an empty one")


def start_folder(checkpoint: Checkpoint, out: Path) -> None:
    """Make the folder, with all that says how texts become what the model reads."""
    out.mkdir(parents=True, exist_ok=True)
    for path in (path for pattern in _COPIED for path in checkpoint.folder.glob(pattern)):
        copy = out / path.relative_to(checkpoint.folder)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)


def write_changed(checkpoint: Checkpoint, out: Path, tensors: Mapping[str, StoredTensor]) -> int:
    """Write a checkpoint in its own format with these tensors in place of its own.

    Returns:
        Bytes of the new weights file.
    """
    start_folder(checkpoint, out)
    write_tensors(out / WEIGHTS_FILE, tensors)
    # Last: a folder without config.json is no model, so a write cut short leaves none.
    text = json.dumps(checkpoint.config, indent=2) + "\n"
    (out / "config.json").write_text(text, encoding="utf-8")
    return (out / WEIGHTS_FILE).stat().st_size
