"""A progress bar for work that takes long, on a terminal."""

from __future__ import annotations

import importlib
import sys
import time
from types import TracebackType
from typing import Any, Self

SHOW_AFTER_SECONDS = 2.0


class ProgressBar:
    """Counts what is done on stderr.

    Args:
        total: units to come.
        show: True shows the bar at once, False never; None shows it where stderr is a terminal and
            the work is not done after two seconds.
        unit: what is counted, in the singular.
    """

    def __init__(self, total: int, show: bool | None, unit: str = "pair") -> None:
        self._total = total
        self._show = show
        self._unit = unit
        self._started = time.monotonic()
        self._done = 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        self.advance(0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Count `count` more."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._is_due():
            tqdm = importlib.import_module("tqdm")
            self._bar = tqdm.tqdm(total=self._total, initial=self._done, unit=self._unit)

    def _is_due(self) -> bool:
        if sys.stderr is None:
            return False
        if self._show is not None:
            return self._show
        long = time.monotonic() - self._started > SHOW_AFTER_SECONDS and self._done < self._total
        return long and is_terminal()


def is_terminal() -> bool:
    """Whether someone is watching stderr, which windowed programs and notebooks may lack."""
    isatty = getattr(sys.stderr, "isatty", None)
    return isatty is not None and bool(isatty())
