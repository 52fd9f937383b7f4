"""From what a caller asks for to a plan for one query's candidates."""

from __future__ import annotations

import threading
from functools import cached_property
from pathlib import Path

from zen_fast.early_stop.calibration import Calibration
from zen_fast.early_stop.search import TopKSearch
from zen_fast.early_stop.storing import FILE_NAME, load_calibration, without_probe
from zen_fast.errors import CheckpointError


class EarlyStop:
    """Plans for one model; its calibration is read when the first is asked for.

    Args:
        folder: of the checkpoint.
        path: of the calibration; None for the one beside the checkpoint, if there is one.
        can_pause: whether the backend can give up candidates between layers.
    """

    def __init__(self, folder: Path, path: Path | None, can_pause: bool) -> None:
        if path is not None and not path.is_file():
            raise CheckpointError(f"there is no calibration {path}: zen-fast calibrate writes one")
        self._folder = folder
        self._path = path or folder / FILE_NAME
        self._can_pause = can_pause
        self._lock = threading.Lock()

    @cached_property
    def _calibration(self) -> Calibration | None:
        if not self._path.is_file():
            return None
        calibration = load_calibration(self._path, self._folder)
        return calibration if self._can_pause else without_probe(calibration)

    def plan(
        self, num_candidates: int, k: int | None, share: float
    ) -> tuple[TopKSearch | None, str]:
        """A search for the top `k` of which `share` is found; None, and why, where all are needed.

        Raises:
            CheckpointError: the calibration cannot be read, or is one of another checkpoint.
        """
        if k is None or k >= num_candidates:
            return None, f"all {num_candidates} candidates are asked for"
        with self._lock:
            calibration = self._calibration
        if calibration is None:
            return None, f"not calibrated: run zen-fast calibrate {self._folder}"
        allowance = calibration.allowance(k, share)
        if allowance is None:
            return None, f"no calibrated way to stop early keeps {share:g} of the top {k}"
        return TopKSearch(calibration, allowance, num_candidates, k), ""
