"""From the phases' records to a JSON file, the table of products, and short tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.gpu_gate.context import Scale, read_records
from benchmarks.gpu_gate.phases import Ending
from zen_fast.backends.linear_choices import LinearTiming, linear_choices_table

_FORMAT = 1

TARGETS_MS = {"minilm-l6": 1.0, "base": 3.5, "large": 10.0}
"""Shape → most that a top-100 rerank of short documents should take on an H200, model only."""

KINDS = ("machine", "ceiling", "linear", "eight_bits", "attention", "rowwise", "model")


def make_report(
    scale: Scale, endings: Sequence[Ending], work: Path, rehearsal: bool
) -> dict[str, Any]:
    """All that is known so far, ready for JSON."""
    records = read_records(work / "records")
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        by_kind.setdefault(record.pop("kind"), []).append(record)
    ceilings = by_kind.get("ceiling", [])
    for row in by_kind.get("model", []):
        _add_shares(row, ceilings)
    return {
        "format": _FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rehearsal": rehearsal,
        "scale": asdict(scale),
        "phases": [asdict(ending) for ending in endings],
        **by_kind,
    }


def write_report(report: Mapping[str, Any], out: Path) -> None:
    """gpu_gate.json, and linear_choices.json where products were measured on a GPU."""
    text = json.dumps(report, indent=1) + "\n"
    (out / "gpu_gate.json").write_text(text, encoding="utf-8")
    machines, linears = report.get("machine", []), report.get("linear", [])
    if linears and machines and machines[0]["gpus"]:
        timings = map(LinearTiming.from_dict, linears)
        table = linear_choices_table(machines[0]["gpus"][0]["name"], timings)
        text = json.dumps(table, indent=1) + "\n"
        (out / "linear_choices.json").write_text(text, encoding="utf-8")


def print_report(report: Mapping[str, Any]) -> None:
    """Models, ops and phases, short enough for the end of a log."""
    if report["rehearsal"]:
        print("REHEARSAL under Triton's interpreter: no figure below means anything")
    for table in (_models_table, _products_table, _attention_table, _rowwise_table):
        lines = table(report)
        if len(lines) > 1:
            _print_columns(lines)
            print()
    for phase in report["phases"]:
        if phase["status"] != "passed":
            last_line = phase["last_words"].splitlines()[-1:] or [""]
            print(f"{phase['status'].upper()} {phase['phase']}: {last_line[0]}")


def _add_shares(row: dict[str, Any], ceilings: Sequence[Mapping[str, Any]]) -> None:
    """Shares of the precision's measured ceiling, of one request and of a full GPU."""
    ceiling = next(
        (
            each["flops_per_second"]
            for each in ceilings
            if each.get("precision") == row["precision"]
        ),
        None,
    )
    if not ceiling:
        return
    if "model" in row["times"]:
        row["share_of_ceiling"] = row["flops"] / (row["times"]["model"]["p50_ms"] / 1000) / ceiling
    if "saturated_flops_per_second" in row:
        row["saturated_share_of_ceiling"] = row["saturated_flops_per_second"] / ceiling


def _models_table(report: Mapping[str, Any]) -> list[list[str]]:
    heading = "shape workload engine precision model_ms paper_ms target_ms end_to_end_ms cached_ms "
    heading += "docs/s ceiling full_ceiling peak_MB max|dlogit| top10 gate"
    lines = [heading.split()]
    for row in report.get("model", []):
        times = {name: each["p50_ms"] for name, each in row["times"].items()}
        is_target = row["workload"] == "short" and row["engine"] == "zen"
        peak = row.get("peak_bytes")
        lines.append(
            [
                row["shape"],
                row["workload"],
                row["engine"].replace(" ", "-"),
                row["precision"],
                _number(times.get("model"), 2),
                _number(row["expected_ms"], 2),
                _number(TARGETS_MS.get(row["shape"]) if is_target else None, 1),
                _number(times.get("end_to_end"), 2),
                _number(times.get("cached"), 2),
                _number(row.get("saturated_documents_per_second"), 0),
                _percent(row.get("share_of_ceiling")),
                _percent(row.get("saturated_share_of_ceiling")),
                _number(None if peak is None else peak / 1e6, 0),
                f"{row['max_abs_logit_difference']:.1e}",
                _percent(row["top_10_overlap"]),
                "REFUSED" if row["refused"] else "ok",
            ]
        )
    return lines


def _products_table(report: Mapping[str, Any]) -> list[list[str]]:
    lines = [["product", "precision", "rows", "ours_us", "vendor_us", "ours/vendor", "TFLOP/s"]]
    for each in (*report.get("linear", []), *report.get("eight_bits", [])):
        shape = each["shape"]
        vendor = each.get("vendor_us", each.get("vendor_bare_us"))
        lines.append(
            [
                f"{shape['in_width']}->{shape['out_width']}",
                shape["precision"],
                str(each["rows"]),
                _number(each["ours_us"], 1),
                _number(vendor, 1),
                _number(None if vendor is None else each["ours_us"] / vendor, 2),
                _number(each["flops"] / each["ours_us"] / 1e6, 0),
            ]
        )
    return lines


def _attention_table(report: Mapping[str, Any]) -> list[list[str]]:
    heading = "attention heads head_dim sequences tokens ours_us varlen_us padded_us"
    lines = [heading.split()]
    for each in report.get("attention", []):
        sizes = [str(each[name]) for name in ("num_heads", "head_dim", "sequences", "tokens")]
        times = [
            _number(each[f"{name}_us"], 1) for name in ("ours", "torch_varlen", "torch_padded")
        ]
        lines.append(["", *sizes, *times])
    return lines


def _rowwise_table(report: Mapping[str, Any]) -> list[list[str]]:
    lines = [["op", "rows", "width", "ours_us", "torch_us", "GB/s", "bandwidth"]]
    ceilings = [each.get("bytes_per_second") for each in report.get("ceiling", [])]
    ceiling = next(filter(None, ceilings), None)
    for each in report.get("rowwise", []):
        speed = 1e6 * each["bytes"] / each["ours_us"]
        lines.append(
            [
                each["op"],
                str(each["rows"]),
                str(each["width"]),
                _number(each["ours_us"], 1),
                _number(each["torch_us"], 1),
                _number(speed / 1e9, 0),
                _percent(None if ceiling is None else speed / ceiling),
            ]
        )
    return lines


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def _print_columns(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
