"""The report for people: a column for each engine, a line for each figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table


class ReportConsole(Console):
    """A console that leaves a reader who went away to its caller; rich would exit with status 1."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError


@dataclass(frozen=True)
class _Figure:
    label: str
    key: str
    show: Callable[[Any], str]


_SPEED = (
    _Figure("latency p50, ms", "p50_ms", "{:,.1f}".format),
    _Figure("latency p95, ms", "p95_ms", "{:,.1f}".format),
    _Figure("latency p99, ms", "p99_ms", "{:,.1f}".format),
    _Figure("documents/s", "documents_per_second", "{:,.0f}".format),
    _Figure("useful tokens/s", "useful_tokens_per_second", "{:,.0f}".format),
    _Figure("useful GFLOP/s", "useful_gflops", "{:,.1f}".format),
    _Figure("share of ceiling", "share_of_ceiling", "{:.0%}".format),
)
_COST = (
    _Figure("peak memory, MB", "peak_rss_bytes", lambda each: f"{each / 1e6:,.0f}"),
    _Figure("load, s", "load_seconds", "{:.2f}".format),
    _Figure("cold start, s", "cold_start_seconds", "{:.2f}".format),
)
_AGREEMENT = (
    _Figure("max |Δlogit|", "max_abs_logit_difference", "{:.1e}".format),
    _Figure("Kendall τ", "kendall_tau", "{:.4f}".format),
    _Figure("top-10 overlap", "top_10_overlap", "{:.1%}".format),
    _Figure("nDCG@10", "ndcg_at_10", "{:.4f}".format),
)
_STOCK = ("transformers", "sentence-transformers")
"""What the other engines' speed is told as a multiple of."""


def print_report(report: Mapping[str, Any], console: Console) -> None:
    """Print what was measured, on what, and which engines were refused."""
    console.print(_caption(report))
    table = Table("", show_lines=False)
    for row in report["rows"]:
        table.add_column(row["engine"], justify="right", overflow="fold")
    for figures in (_SPEED, _COST, _AGREEMENT):
        for figure in figures:
            cells = [_cell(row, figure) for row in report["rows"]]
            table.add_row(figure.label, *cells)
        table.add_section()
    for name in _STOCK:
        cells = [_speedup_cell(row, name) for row in report["rows"]]
        if any(cells):
            table.add_row(f"vs {name}", *cells)
    console.print(table)
    console.print(_notes(report), style="dim")
    for row in report["rows"]:
        if row["refused"]:
            console.print(f"REFUSED {row['engine']}: {row['refused']}", style="bold red")


def print_profiles(report: Mapping[str, Any], console: Console) -> None:
    """Print the share of time by op of every engine that tells it."""
    for row in report["rows"]:
        total = sum(row["seconds_by_op"].values())
        if not total:
            continue
        table = Table("op (rows per, columns in -> out)", title=f"{row['engine']}: share of time")
        table.add_column("share", justify="right")
        for op, seconds in sorted(row["seconds_by_op"].items(), key=lambda item: -item[1]):
            table.add_row(op, f"{seconds / total:.1%}")
        console.print(table)


def _cell(row: Mapping[str, Any], figure: _Figure) -> str:
    value = row.get(figure.key)
    if row["refused"] and figure not in _COST:
        return "refused"
    return "–" if value is None else figure.show(value)


def _speedup_cell(row: Mapping[str, Any], name: str) -> str:
    speedup = row.get("speedup_over", {}).get(name)
    return "" if speedup is None else f"{speedup:.2f}x"


def _caption(report: Mapping[str, Any]) -> str:
    model, inputs, machine = report["model"], report["inputs"], report["machine"]
    weights = " (random weights)" if model["random_weights"] else ""
    return (
        f"[bold]{model['name']}[/bold]{weights}: {model['num_layers']} layers x "
        f"{model['hidden_size']}, threads: {report['threads']}, {report['device']}, "
        f"{machine['cpu']}, cores: {machine['logical_cores']}\n"
        f"{report['workload']} on {report['collection']}: {inputs['num_queries']} queries, "
        f"{inputs['num_documents']} pairs of {inputs['tokens_per_pair']:.0f} tokens, "
        f"{inputs['useful_gflop_per_query']:.1f} useful GFLOP per query"
    )


def _notes(report: Mapping[str, Any]) -> str:
    ceilings = ", ".join(
        f"{precision} {gflops:.0f} GFLOP/s"
        for precision, gflops in report["ceilings"]["gflops"].items()
    )
    lines = [
        "Latency is per query, strings to logits; “vs …” is how many times as fast, median over "
        f"queries. Agreement is with {report['rows'][0]['engine']}.",
        f"Ceilings, measured in this run: {ceilings}; a share is of the precision's own.",
    ]
    first_stage = report["inputs"]["first_stage_ndcg_at_10"]
    if first_stage is not None:
        lines.append(f"nDCG@10 of the candidates as BM25 ranks them: {first_stage:.4f}.")
    settings = "; ".join(
        f"{row['engine']} {' '.join(f'{key} {value}' for key, value in row['settings'].items())}"
        for row in report["rows"]
    )
    return "\n".join((*lines, f"Settings: {settings}."))
