"""State on disk that an interrupted run goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what `torch.load` reads; whole, or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(dict(state), partial)
    partial.replace(path)


def changed_fields(begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """The names of what is wanted that a run was begun with other values of."""
    return [name for name in wanted if begun.get(name) != wanted[name]]
