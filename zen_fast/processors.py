"""How many processors this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Processors that this process may keep busy: its affinity, or less by a container's quota."""
    if hasattr(os, "sched_getaffinity"):
        num_cores = len(os.sched_getaffinity(0))
    else:
        num_cores = os.cpu_count() or 1
    return max(1, min(num_cores, _quota_cores(_CGROUP_QUOTA)))


def _quota_cores(path: Path) -> int:
    """Cores that a cgroup's `quota period` line allows, rounded up; many where there is no limit.

    Threads beyond the quota would only spin in barriers while the kernel holds the others back.
    """
    unlimited = 1 << 16
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return math.ceil(int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup v2 here, or "max"
        return unlimited
