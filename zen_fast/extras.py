"""What to install for the parts of the package that need more than its own dependencies."""

from __future__ import annotations


def install(*extras: str) -> str:
    """The command for these extras of pyproject.toml, which any shell takes as it is."""
    return f"pip install 'zen-fast[{','.join(extras)}]'"
