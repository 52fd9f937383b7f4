"""The comparison for people: a line for each collection, columns for each reranker."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rich.console import Console
from rich.table import Table

from zen_fast.eval.quality import CollectionQuality

Results = Sequence[CollectionQuality]


def print_quality(results: Results, console: Console) -> None:
    """Print nDCG@10 by collection, and how later columns differ from the first."""
    console.print(_quality_table(results))
    for place in range(1, len(results[0].columns)):
        console.print(_agreement_table(results, place))


def mean_relative_change(results: Results, place: int) -> float:
    """Change of the collections' mean nDCG@10 from the first column to another, in percent."""
    return 100 * (_mean(results, place) / _mean(results, 0) - 1)


def _mean(results: Results, place: int) -> float:
    return fmean(result.columns[place].ndcg_at_10 for result in results)


def _quality_table(results: Results) -> Table:
    table = Table("collection", title="nDCG@10 x 100, and ms per query (p50)")
    names = [column.name for column in results[0].columns]
    for heading in ("queries", "BM25", *names, "ms"):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(
            _label(result),
            f"{result.num_queries}",
            f"{result.first_stage:.2f}",
            *(f"{column.ndcg_at_10:.2f}" for column in result.columns),
            " / ".join(f"{column.p50_ms:,.0f}" for column in result.columns),
        )
    table.add_section()
    means = (f"{_mean(results, place):.2f}" for place in range(len(names)))
    first_stage = fmean(result.first_stage for result in results)
    table.add_row("mean", "", f"{first_stage:.2f}", *means, "")
    return table


def _agreement_table(results: Results, place: int) -> Table:
    first, name = (results[0].columns[each].name for each in (0, place))
    table = Table("collection", title=f"{name} against {first}")
    for heading in ("change of nDCG@10", "max |Δlogit|", "Kendall τ"):
        table.add_column(heading, justify="right")
    for result in results:
        column = result.columns[place]
        table.add_row(
            _label(result),
            f"{column.relative_change:+.2f} %",
            f"{column.max_abs_logit_difference:.2f}",
            f"{column.kendall_tau:.4f}",
        )
    table.add_section()
    table.add_row("mean", f"{mean_relative_change(results, place):+.2f} %", "", "")
    return table


def _label(result: CollectionQuality) -> str:
    return f"{result.collection} {result.split}"
