"""Where a model can run: several GPUs, and what a GPU must be for a precision."""

from __future__ import annotations

import pytest

from zen_fast.errors import InvalidArgumentError, InvalidTypeError, UnsupportedDeviceError
from zen_fast.placement import require_capability, split_devices


@pytest.mark.parametrize(
    ("device", "devices"),
    [
        ("auto", ["auto"]),
        ("cpu", ["cpu"]),
        ("cuda", ["cuda"]),
        ("cuda:3", ["cuda:3"]),
        ("cuda:0,2,1", ["cuda:0", "cuda:2", "cuda:1"]),
        ("cuda:0,", ["cuda:0,"]),  # for make_backend to refuse
    ],
)
def test_split_devices_parts_only_lists_of_gpus(device: str, devices: list[str]) -> None:
    assert split_devices(device) == devices


def test_split_devices_refuses_a_gpu_named_twice_and_what_is_no_text() -> None:
    with pytest.raises(InvalidArgumentError, match="each GPU may be named once"):
        split_devices("cuda:0,1,0")
    with pytest.raises(InvalidTypeError, match="device is a list"):
        split_devices(["cuda:0"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("precision", "too_old", "enough"),
    [("fp8", (8, 6), (8, 9)), ("bf16", (7, 5), (8, 0))],
)
def test_precision_that_a_gpu_lacks_is_refused(
    precision: str, too_old: tuple[int, int], enough: tuple[int, int]
) -> None:
    have = ".".join(map(str, too_old))
    with pytest.raises(UnsupportedDeviceError, match=f"cuda:1 has {have}: use precision="):
        require_capability(precision, "cuda:1", too_old)
    require_capability(precision, "cuda:1", enough)
    require_capability(precision, "cuda:1", (9, 0))
    require_capability("fp16", "cuda:1", (6, 0))
