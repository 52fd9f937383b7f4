"""Reading a checkpoint's JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zen_fast.errors import CheckpointError


def read_json(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds one object.

    Raises:
        CheckpointError: the file is missing or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; give the folder that save_pretrained wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content
