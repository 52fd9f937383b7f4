"""The paper estimate as Markdown: `python -m benchmarks.gpu_gate.estimates [gpu_gate.json]`.

Every op of a pass with its FLOPs, bytes and launches, what it should take on an H200, and beside
that what the gate measured, where its report is given.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zen_fast.architectures import encoder_spec
from zen_fast.bench.random_model import SHAPES
from zen_fast.bench.roofline import H200, OpCount, count_ops, expected_seconds

LENGTHS = [86] * 100
"""A hundred documents of about 75 tokens, each with its query."""

MODELS = ("minilm-l6", "minilm-l12", "base", "large")
PRECISIONS = ("fp16", "int8", "fp8")
_ALIKE = 1.1
"""Rows of a measured op may differ from the estimate's by so much."""


def estimates(report: Mapping[str, Any] | None = None) -> str:
    """The whole page."""
    return "\n".join(_page(report or {})) + "\n"


def _page(report: Mapping[str, Any]) -> Iterator[str]:
    tera, gap = H200.flops_per_second["fp16"] / 1e12, 1e6 * H200.seconds_per_launch
    yield "# A top-100 rerank on a GPU, on paper"
    yield ""
    yield "Written by `python -m benchmarks.gpu_gate.estimates`; a report of the gate as its"
    yield "argument fills the measured columns. Each launch takes the longer of its arithmetic, at"
    yield f"{tera:.0f} TFLOP/s in 16 bits and twice that in 8, and of its traffic, every operand"
    yield f"once at {H200.bytes_per_second / 1e12:.1f} TB/s, and {gap:.0f} µs besides, which is"
    yield f"assumed: {H200.name}, {len(LENGTHS)} pairs of {LENGTHS[0]} tokens."
    for gpu in _gpus(report):
        yield f"Measured on one {gpu}."
    yield ""
    yield "| model | precision | TFLOP | GB | launches | expected ms | measured ms |"
    yield "|---|---|--:|--:|--:|--:|--:|"
    for model in MODELS:
        for precision in PRECISIONS:
            yield _model_line(model, precision, report)
    for model in MODELS:
        yield ""
        yield f"## {model}, fp16"
        yield ""
        yield "| op | times | GFLOP | MB | launches | expected µs | measured µs |"
        yield "|---|--:|--:|--:|--:|--:|--:|"
        counts = Counter(count_ops(encoder_spec(SHAPES[model]), LENGTHS, "fp16"))
        for count, times in counts.items():
            yield _op_line(count, times, _measured_us(count, report))


def _gpus(report: Mapping[str, Any]) -> Iterator[str]:
    for machine in report.get("machine", []):
        for gpu in machine["gpus"][:1]:
            yield gpu["name"]


def _model_line(model: str, precision: str, report: Mapping[str, Any]) -> str:
    spec = encoder_spec(SHAPES[model])
    counts = count_ops(spec, LENGTHS, precision)
    measured = next(
        (
            row["times"]["model"]["p50_ms"]
            for row in report.get("model", [])
            if (row["shape"], row["workload"], row["engine"]) == (model, "short", "zen")
            and row["precision"] == precision
        ),
        None,
    )
    cells = (
        model,
        precision,
        f"{sum(each.flops for each in counts) / 1e12:.2f}",
        f"{sum(each.num_bytes for each in counts) / 1e9:.2f}",
        str(sum(each.launches for each in counts)),
        f"{1000 * expected_seconds(spec, LENGTHS, precision):.2f}",
        "–" if measured is None else f"{measured:.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _op_line(count: OpCount, times: int, measured_us: float | None) -> str:
    cells = (
        count.op,
        str(times),
        f"{count.flops / 1e9:.2f}",
        f"{count.num_bytes / 1e6:.1f}",
        str(count.launches),
        f"{1e6 * count.seconds(H200, 'fp16'):.1f}",
        "–" if measured_us is None else f"{measured_us:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _measured_us(count: OpCount, report: Mapping[str, Any]) -> float | None:
    """Of the op of the same name and about the same work."""
    for name, work, microseconds in _measured_ops(report):
        ours = count.flops or count.num_bytes
        if name == count.op and work / _ALIKE < ours < work * _ALIKE:
            return microseconds
    return None


def _measured_ops(report: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """(name as in the estimate, FLOPs or bytes, µs) of what a report measured."""
    for each in report.get("linear", []):
        shape = each["shape"]
        name = f"linear {shape['in_width']} -> {shape['out_width']}"
        yield name, each["flops"], each["ours_us"]
    for each in report.get("attention", []):
        width = each["num_heads"] * each["head_dim"]
        yield f"attention {width}", each["flops"], each["ours_us"]
    for each in report.get("rowwise", []):
        if each["op"] == "layer_norm":
            yield f"norm {each['width']}", each["bytes"], each["ours_us"]


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else None
    report = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
    sys.stdout.write(estimates(report))


if __name__ == "__main__":
    main()
