"""Locks in a forked child: one that another thread of the parent held would never be released."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class HoldsLocks(Protocol):
    """An object that can make itself usable again in a child."""

    def _start_anew(self) -> None:
        """Replace the locks, and what a fork may have cut in two."""


def renew_in_children(thing: HoldsLocks) -> None:
    """From now on, and while `thing` lives, every forked child starts it anew."""
    _living.add(thing)


_living: weakref.WeakSet[HoldsLocks] = weakref.WeakSet()


def _renew() -> None:
    for thing in list(_living):
        thing._start_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
