"""Reading a checkpoint's JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zen_fast.errors import CheckpointError


def read_json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """Content of a JSON file that holds one object.

    Args:
        default: what a missing file stands for; None where there must be one.

    Raises:
        CheckpointError: the file is missing or holds something else.
    """
    if default is not None and not path.is_file():
        return default
    content = _parse(path)
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content


def read_json_list(path: Path) -> list[dict[str, Any]]:
    """Content of a JSON file that holds a list of objects.

    Raises:
        CheckpointError: the file is missing or holds something else.
    """
    content = _parse(path)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise CheckpointError(f"{path} holds no JSON list of objects")
    return content


def _parse(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give the folder that save_pretrained wrote")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
