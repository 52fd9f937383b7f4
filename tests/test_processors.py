"""The number of threads that a process should use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zen_fast import processors


@pytest.mark.parametrize(
    ("line", "expected"), [("200000 100000\n", 2), ("150000 100000", 2), ("max 100000", 4)]
)
def test_usable_cores_respects_a_container_quota(
    line: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(line)
    monkeypatch.setattr(processors, "_CGROUP_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    assert processors.usable_cores() == expected


def test_usable_cores_without_a_cgroup_is_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "_CGROUP_QUOTA", tmp_path / "missing")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert processors.usable_cores() == 3
