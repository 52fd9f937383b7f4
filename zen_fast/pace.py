"""How long a run will take: a model of this machine's pace, learnt from the runs so far."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from zen_fast.fork_safety import renew_in_children

_WEIGHT_OF_NEWEST = 0.2
_DEVIATIONS = 2.5
"""Above the mean: what is promised holds for nearly every run, at the price of ending early."""


@dataclass
class _Size:
    """Seconds per token of runs of about one size, as running means."""

    mean: float
    deviation: float


class Pace:
    """Seconds that a run of so many tokens takes here; safe under threads and across forks.

    Small runs cost more per token, so each power of two has a mean and a deviation of its own, in
    which newer runs count for more.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, _Size] = {}
        self._lock = threading.Lock()
        renew_in_children(self)

    def observe(self, num_tokens: int, seconds: float) -> None:
        """A run of `num_tokens` took `seconds`."""
        rate = seconds / num_tokens
        with self._lock:
            size = self._sizes.get(num_tokens.bit_length())
            if size is None:
                self._sizes[num_tokens.bit_length()] = _Size(rate, 0.1 * rate)
                return
            error = rate - size.mean
            size.mean += _WEIGHT_OF_NEWEST * error
            size.deviation += _WEIGHT_OF_NEWEST * (abs(error) - size.deviation)

    def predict(self, num_tokens: int) -> float | None:
        """Seconds within which a run of `num_tokens` is expected to end; None before any run."""
        with self._lock:
            if not self._sizes:
                return None
            wanted = num_tokens.bit_length()
            size = self._sizes[min(self._sizes, key=lambda known: abs(known - wanted))]
            return num_tokens * (size.mean + _DEVIATIONS * size.deviation)

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
