"""A calibration as a JSON file beside its checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from zen_fast.checkpoint.json_file import read_json
from zen_fast.early_stop.calibration import Allowance, Calibration, LayerProbe, RankModel
from zen_fast.errors import CheckpointError

FILE_NAME = "early_stop.json"

_FORMAT = 2
_BLOCK_BYTES = 1 << 20
_DIGITS = 5
"""Significant ones: more would be noise of the fit."""


def checkpoint_fingerprint(folder: Path) -> str:
    """A digest of the weights and the tokenizer in `folder`, which a calibration is bound to."""
    digest = blake2b(digest_size=16)
    for path in [*sorted(folder.glob("*.safetensors")), folder / "tokenizer.json"]:
        if path.is_file():
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
    return digest.hexdigest()


def save_calibration(calibration: Calibration, path: Path) -> None:
    """Write `path`, whole or not at all."""
    content = {"format": _FORMAT, **_plain(asdict(calibration))}
    beside = path.with_name(f"{path.name}.part")
    beside.write_text(json.dumps(content, separators=(",", ":")) + "\n", encoding="utf-8")
    beside.replace(path)


def load_calibration(path: Path, folder: Path) -> Calibration:
    """Read what `save_calibration` wrote for the checkpoint in `folder`.

    Raises:
        CheckpointError: it is no calibration, or one of another checkpoint.
    """
    content = read_json(path)
    remedy = f"run zen-fast calibrate {folder} --data FOLDER"
    if content.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} has format {content.get('format')!r}, this release reads {_FORMAT}: {remedy}"
        )
    try:
        ranks, probe = content["ranks"], content["probe"]
        calibration = Calibration(
            fingerprint=content["fingerprint"],
            fitted_on=tuple(content["fitted_on"]),
            ranks=RankModel(**_with_arrays(ranks)),
            probe=None if probe is None else LayerProbe(**_with_arrays(probe)),
            allowances=tuple(Allowance(**each) for each in content["allowances"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no calibration ({error!r}): {remedy}") from error
    if calibration.fingerprint != checkpoint_fingerprint(folder):
        raise CheckpointError(
            f"{path} was fitted to other weights or another tokenizer than those in {folder}: "
            f"{remedy}"
        )
    return calibration


def without_probe(calibration: Calibration) -> Calibration:
    """What is left of it on a backend that does not pause."""
    breadth_only = tuple(each for each in calibration.allowances if not each.depth)
    return replace(calibration, probe=None, allowances=breadth_only)


def _with_arrays(model: dict[str, Any]) -> dict[str, Any]:
    return {
        name: np.array(value) if isinstance(value, list) else value for name, value in model.items()
    }


def _plain(value: Any) -> Any:
    """`value` with arrays as lists, and floats of as many digits as mean something."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
