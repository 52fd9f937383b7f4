"""Checks of the numbers that users pass in."""

from __future__ import annotations

from numbers import Integral

from zen_fast.errors import InvalidArgumentError, InvalidTypeError


def positive(name: str, value: object) -> int:
    """`value`, checked to be a whole number of at least 1.

    Raises:
        InvalidTypeError: it is no whole number; the message calls it `name`.
        InvalidArgumentError: it is less than 1.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InvalidTypeError(f"{name} is a {type(value).__name__}; pass a whole number")
    if value < 1:
        raise InvalidArgumentError(f"{name}={value}: it must be at least 1")
    return int(value)
