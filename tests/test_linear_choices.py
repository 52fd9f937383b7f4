"""Whose product runs a linear op: as measured, and ours where nothing was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402
from torch.nn import functional  # noqa: E402

from zen_fast.backends.linear_choices import (  # noqa: E402
    MEASURED,
    LinearChoices,
    LinearShape,
    LinearTiming,
    linear_choices_table,
    read_linear_choices,
)
from zen_fast.backends.vendor_linear import vendor_linear  # noqa: E402
from zen_fast.errors import InvalidArgumentError  # noqa: E402

SHAPE = LinearShape("fp16", 384, 1536, activation=True, residual=False)
OTHER = LinearShape("fp16", 384, 1536, activation=False, residual=False)


def test_choices_without_measurements_are_our_kernel() -> None:
    assert not LinearChoices().prefers_vendor(SHAPE, 100)
    assert not read_linear_choices("a GPU that nobody measured").prefers_vendor(SHAPE, 100)


def test_choices_follow_the_measurement_with_the_nearest_rows() -> None:
    choices = LinearChoices(
        [LinearTiming(SHAPE, 100, ours_us=5, vendor_us=6), LinearTiming(SHAPE, 1000, 9, 8)]
    )
    vendor = {rows for rows in (20, 25, 99, 400, 1000, 4000, 4001) if _prefers(choices, rows)}
    assert vendor == {400, 1000, 4000}
    assert not choices.prefers_vendor(OTHER, 1000)


def _prefers(choices: LinearChoices, rows: int) -> bool:
    return choices.prefers_vendor(SHAPE, rows)


def test_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    timing = LinearTiming(SHAPE, 100, ours_us=9.0, vendor_us=8.0)
    path.write_text(json.dumps(linear_choices_table("NVIDIA H200", [timing])))
    assert read_linear_choices("NVIDIA H200", path).prefers_vendor(SHAPE, 100)
    assert not read_linear_choices("NVIDIA A100", path).prefers_vendor(SHAPE, 100)


def test_table_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({"format": 7, "gpus": {}}))
    with pytest.raises(InvalidArgumentError, match=r"format 7.*measure again"):
        read_linear_choices("NVIDIA H200", path)


def test_committed_table_is_of_this_format() -> None:
    for gpu in json.loads(MEASURED.read_text())["gpus"]:
        read_linear_choices(gpu)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (None, lambda x: x),
        ("gelu", functional.gelu),
        ("gelu_tanh", lambda x: functional.gelu(x, approximate="tanh")),
        ("relu", functional.relu),
        ("silu", functional.silu),
        ("tanh", torch.tanh),
    ],
)
def test_vendor_linear_leaves_its_operands_alone(
    activation: str | None, function: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    x, weight, bias, residual = (torch.randn(each) for each in ((5, 7), (3, 7), (3,), (5, 3)))
    copies = [each.clone() for each in (x, weight, bias, residual)]
    expected = function(x.double() @ weight.double().T + bias) + residual
    result = vendor_linear(x, weight, bias, activation, residual)
    torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=1e-5)
    for tensor, copy in zip((x, weight, bias, residual), copies, strict=True):
        assert torch.equal(tensor, copy)
