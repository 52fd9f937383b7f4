"""From what a caller asks for to a plan for one query's candidates."""

from __future__ import annotations

import threading
from pathlib import Path

from zen_fast.early_stop.calibration import Calibration
from zen_fast.early_stop.search import TopKSearch
from zen_fast.early_stop.storing import FILE_NAME, load_calibration, without_probe
from zen_fast.errors import CheckpointError
from zen_fast.fork_safety import renew_in_children


class EarlyStop:
    """Plans for one model; safe under threads and across forks.

    Args:
        folder: of the checkpoint.
        path: of the calibration, which is loaded at once; None for the one beside the checkpoint,
            if there is one, which is loaded when it is needed first.
        can_pause: whether the backend can give up candidates between layers.

    Raises:
        CheckpointError: there is no calibration at `path`, or `load` refuses it.
    """

    def __init__(self, folder: Path, path: Path | None, can_pause: bool) -> None:
        if path is not None and not path.is_file():
            raise CheckpointError(f"there is no calibration {path}: zen-fast calibrate writes one")
        self._folder = folder
        self._path = path or folder / FILE_NAME
        self._can_pause = can_pause
        self._calibration: Calibration | None = None
        self._is_loaded = False
        self._lock = threading.Lock()
        renew_in_children(self)
        if path is not None:
            self.load()

    def load(self) -> None:
        """Read the calibration, once; that it is the checkpoint's takes a reading of its weights.

        Raises:
            CheckpointError: the calibration cannot be read, or is one of another checkpoint.
        """
        with self._lock:
            if self._is_loaded:
                return
            if self._path.is_file():
                calibration = load_calibration(self._path, self._folder)
                self._calibration = calibration if self._can_pause else without_probe(calibration)
            self._is_loaded = True

    def plan(
        self, num_candidates: int, k: int | None, share: float
    ) -> tuple[TopKSearch | None, str]:
        """A search for the top `k` of which `share` is found; None, and why, where all are needed.

        Raises:
            CheckpointError: the calibration cannot be read, or is one of another checkpoint.
        """
        if k is None or k >= num_candidates:
            return None, f"all {num_candidates} candidates are asked for"
        self.load()
        calibration = self._calibration
        if calibration is None:
            return None, f"not calibrated: run zen-fast calibrate {self._folder} --data FOLDER"
        allowance = calibration.allowance(k, share)
        if allowance is None:
            return None, f"no calibrated way to stop early keeps {share:g} of the top {k}"
        return TopKSearch(calibration, allowance, num_candidates, k), ""

    def _start_anew(self) -> None:
        self._lock = threading.Lock()
