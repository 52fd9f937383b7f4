"""Checks of what users pass in: what it means, or a typed error that names the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path

from zen_fast.errors import InvalidArgumentError, InvalidTypeError


def positive_count(name: str, value: object) -> int:
    """`value` as a whole number of at least 1."""
    return whole_number(name, value, least=1)


def whole_number(name: str, value: object, least: int) -> int:
    """`value` as a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a whole number")
    if value < least:
        raise InvalidArgumentError(f"{name}={value}: it must be at least {least}")
    return int(value)


def optional_path(name: str, value: object) -> Path | None:
    """`value` as a path, or None."""
    if value is None:
        return None
    if not isinstance(value, str | Path):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a path, or None")
    return Path(value)


def megabytes(name: str, value: object) -> int:
    """`value` megabytes, in bytes."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a number of megabytes")
    number = as_float(value)
    if not 0 <= number < math.inf:
        raise InvalidArgumentError(f"{name}={number}: it must be finite and at least 0")
    return int(number * 1e6)


def share_to_find(value: object) -> float | None:
    """`early_stop` as a share between 0 and 1, or None."""
    if value is None:
        return None
    share = _real("early_stop", value)
    if not 0 < share < 1:
        raise InvalidArgumentError(
            f"early_stop={share:g}: it is the share of the exact top k to find, between 0 and 1; "
            "leave it out to score every candidate"
        )
    return share


def share_of_first_stage(value: object) -> float:
    """`first_stage_weight` as a share from 0 to 1."""
    share = _real("first_stage_weight", value)
    if not 0 <= share <= 1:
        raise InvalidArgumentError(
            f"first_stage_weight={share:g}: it is the first stage's share of the order, from 0 to "
            "1; 0 leaves the order to the reranker"
        )
    return share


def deadline_seconds(value: object) -> float | None:
    """`deadline_ms` in seconds, or None."""
    if value is None:
        return None
    milliseconds = _real("deadline_ms", value)
    if not 0 < milliseconds < math.inf:
        raise InvalidArgumentError(f"deadline_ms={milliseconds:g}: it must be finite and above 0")
    return milliseconds / 1000


def require_folders(paths: Iterable[Path | None]) -> None:
    """Make sure, before what takes minutes, that files can be written there; None is no file."""
    for path in filter(None, paths):
        if not path.resolve().parent.is_dir():
            raise InvalidArgumentError(f"cannot write {path}: there is no folder {path.parent}")


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a number")
    return as_float(value)


def as_float(value: Real) -> float:
    """`value`; an infinity where it is larger than any float."""
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf
