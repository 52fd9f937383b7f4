"""Where recorded matrices live: an arena whose space is used again after a last read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class MemoryPlan:
    """First-fit allocation over one axis; offsets and sizes are in floats per row.

    A matrix that dies leaves its place, warm in the cache, to the next one.
    """

    _taken: dict[int, int] = field(default_factory=dict)
    """offset → size of each living matrix"""

    def take(self, size: int) -> int:
        """The lowest offset at which `size` floats per row are free."""
        offset = 0
        for taken_offset, taken_size in sorted(self._taken.items()):
            if offset + size <= taken_offset:
                break
            offset = taken_offset + taken_size
        self._taken[offset] = size
        return offset

    def release(self, offset: int) -> None:
        """Give back what take() returned."""
        del self._taken[offset]
