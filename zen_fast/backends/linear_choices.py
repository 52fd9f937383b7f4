"""Whose matrix product runs a linear op on a GPU, ours or the vendor's: measured, never assumed.

`linear_choices.json` holds, for each GPU, what `python -m benchmarks.gpu_gate` measured there. What
it does not hold runs on our kernel: the one that the tests hold to its oracle, with one rounding
where the vendor's product rounds before the activation and again before the residual.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zen_fast.errors import InvalidArgumentError

MEASURED = Path(__file__).with_name("linear_choices.json")

_FORMAT = 1
_FARTHEST = math.log(4.0)
"""A measurement speaks for products of a quarter to four times its rows."""


@dataclass(frozen=True)
class LinearShape:
    """What the speed of a linear op depends on, besides its rows."""

    precision: str
    """What its operands are multiplied in; fp16's figures stand for bf16's, of equal rate."""
    in_width: int
    out_width: int
    activation: bool
    residual: bool


@dataclass(frozen=True)
class LinearTiming:
    """One op measured both ways, epilogue included."""

    shape: LinearShape
    rows: int
    ours_us: float
    vendor_us: float

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LinearTiming:
        """One of its JSON form, which may have other fields besides."""
        shape = LinearShape(**fields["shape"])
        return cls(shape, fields["rows"], fields["ours_us"], fields["vendor_us"])


class LinearChoices:
    """The measurements of one GPU."""

    def __init__(self, timings: Iterable[LinearTiming] = ()) -> None:
        self._timings: dict[LinearShape, list[LinearTiming]] = {}
        for timing in timings:
            self._timings.setdefault(timing.shape, []).append(timing)

    def prefers_vendor(self, shape: LinearShape, rows: int) -> bool:
        """Whether the measurement nearest to `rows` found the vendor's product faster."""
        timings = self._timings.get(shape, ())
        distances = [(abs(math.log(timing.rows / rows)), timing) for timing in timings]
        if not distances:
            return False
        distance, nearest = min(distances, key=lambda each: each[0])
        return distance <= _FARTHEST and nearest.vendor_us < nearest.ours_us


def read_linear_choices(gpu: str, path: Path = MEASURED) -> LinearChoices:
    """The measurements of the GPU of that name; none where it was not measured.

    Raises:
        InvalidArgumentError: the file is of another format.
    """
    table = json.loads(path.read_text(encoding="utf-8"))
    if table.get("format") != _FORMAT:
        raise InvalidArgumentError(
            f"{path} has format {table.get('format')!r}, this release reads {_FORMAT}; measure "
            "again with python -m benchmarks.gpu_gate"
        )
    return LinearChoices(map(LinearTiming.from_dict, table["gpus"].get(gpu, [])))


def linear_choices_table(gpu: str, timings: Iterable[LinearTiming]) -> dict[str, Any]:
    """The file's content for one GPU."""
    return {"format": _FORMAT, "gpus": {gpu: [asdict(timing) for timing in timings]}}
