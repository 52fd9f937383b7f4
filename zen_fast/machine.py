"""Where a measurement was made: machine, versions, commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PACKAGES = (
    "zen-fast",
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "numpy",
    "bm25s",
    "ir-measures",
)


def describe_run(command: Sequence[str]) -> dict[str, Any]:
    """What every report begins with: when, how, of what and where it was measured."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "git_commit": git_commit(),
        "machine": describe_machine(),
        "versions": describe_versions(),
    }


def describe_machine() -> dict[str, Any]:
    """What a reader needs to judge the figures; the host's name is not among it."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu": _cpu_model(),
        "instruction_sets": _instruction_sets(),
        "logical_cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "python": platform.python_version(),
    }


def describe_versions() -> dict[str, str]:
    """Versions of the packages that take part, as far as they are installed."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str | None:
    """The checkout's commit, with `+changes` where files differ; None outside a checkout."""
    package = Path(__file__).resolve().parent
    if _git(package, "rev-parse", "--show-toplevel") != str(package.parent):
        return None  # an installed copy, perhaps within some other project's checkout
    commit = _git(package, "rev-parse", "HEAD")
    if commit is None:
        return None
    return commit + (
        "+changes" if _git(package, "status", "--porcelain", "--untracked-files=no") else ""
    )


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _cpuinfo(field: str) -> str | None:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return None


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or "unknown"


def _instruction_sets() -> list[str]:
    known = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimddp", "i8mm")
    flags = (_cpuinfo("flags") or _cpuinfo("Features") or "").split()
    return [each for each in known if each in flags]


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
