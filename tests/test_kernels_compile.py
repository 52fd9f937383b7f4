"""Every Triton kernel compiles for the GPUs of two generations, within what the chips have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install 'zen-fast[gpu]'")

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
"""Shared memory that one block may take."""


@pytest.fixture(scope="module", params=sorted(SHARED_BYTES), ids=lambda each: f"sm_{each}")
def compiled(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    environment = {key: os.environ[key] for key in os.environ if key != "TRITON_INTERPRET"}
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run(
        [sys.executable, str(script), str(request.param)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_no_kernel_spills_registers(compiled: list[dict[str, Any]]) -> None:
    assert [each["kernel"] for each in compiled if each["local_bytes"] > 0] == []


def test_shared_memory_is_within_the_chip(compiled: list[dict[str, Any]]) -> None:
    too_large = [
        each["kernel"]
        for each in compiled
        if each["shared_bytes"] > SHARED_BYTES[each["capability"]]
    ]
    assert too_large == []


def test_products_use_the_tensor_cores(compiled: list[dict[str, Any]]) -> None:
    assert [each["kernel"] for each in compiled if each["tensor_rows"] and not each["mma"]] == []


def test_large_products_use_wgmma_where_there_is(compiled: list[dict[str, Any]]) -> None:
    large = [each for each in compiled if each["tensor_rows"] >= 64 and each["capability"] >= 90]
    assert [each["kernel"] for each in large if not each["wgmma"]] == []
