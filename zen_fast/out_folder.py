"""A folder that a command will write: whether it can, before what takes minutes."""

from __future__ import annotations

import os
from pathlib import Path

from zen_fast.errors import InvalidArgumentError


def require_writable(out: Path) -> None:
    """Make sure that `out` can be made, or written into if it is there; makes nothing.

    Raises:
        InvalidArgumentError: something on the way to it is a file, or is not to be written.
    """
    nearest = out.absolute()
    while not os.access(nearest, os.F_OK):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise InvalidArgumentError(f"cannot write {out}: {nearest} is a file; give another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InvalidArgumentError(
            f"cannot write {out}: {nearest} is not yours to write; give another folder"
        )
