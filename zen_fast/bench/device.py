"""Where a run is measured: that it can be had, before anything is prepared for it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zen_fast.errors import UnsupportedDeviceError
from zen_fast.placement import make_backend


def require_device(device: str, precisions: Sequence[str]) -> None:
    """Make sure that zen runs on `device` in each of `precisions`.

    Raises:
        MissingDependencyError: a GPU's packages are not installed.
        UnsupportedDeviceError: it is no one device, is not here, or lacks a precision.
    """
    # make_backend also takes devices that only ZenReranker can tell apart.
    if re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
        raise UnsupportedDeviceError(f"device={device!r}: accepted are 'cpu', 'cuda', 'cuda:N'")
    for precision in precisions:
        make_backend("auto", device, precision, num_threads=None)
