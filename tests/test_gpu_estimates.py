"""The committed page is what the program writes of the committed report, figures and all."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("benchmarks.gpu_gate.estimates")


def test_committed_estimates_are_those_of_the_program(module: Any) -> None:
    results = ROOT / "benchmarks" / "results"
    report = json.loads((results / "gpu-gate-h200.json").read_text())
    assert module.estimates(report) == (results / "gpu-estimates.md").read_text()


def test_estimates_show_what_a_report_measured(module: Any) -> None:
    model = {"shape": "base", "workload": "short", "engine": "zen", "precision": "int8"}
    shape = {"in_width": 768, "out_width": 2304}
    flops = 2.0 * 8700 * 768 * 2304
    report = {
        "model": [{**model, "times": {"model": {"p50_ms": 1.87654}}}],
        "linear": [
            {"shape": shape, "flops": flops / 10, "ours_us": 9.0},  # of far fewer rows
            {"shape": shape, "flops": flops, "ours_us": 77.7},
        ],
        "attention": [{"num_heads": 12, "head_dim": 64, "flops": 2.3e9, "ours_us": 22.2}],
        "rowwise": [{"op": "layer_norm", "width": 768, "bytes": 26.5e6, "ours_us": 11.1}],
    }
    lines = module.estimates(report).splitlines()
    measured = [line for line in lines if re.search(r"\d \|$", line)]
    assert [(line.split("|")[1].strip(), line.split("|")[-2].strip()) for line in measured] == [
        ("base", "1.88"),
        ("norm 768", "11.1"),
        ("linear 768 -> 2304", "77.7"),
        ("attention 768", "22.2"),
    ]
