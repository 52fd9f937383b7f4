"""The comparison as a table, and the curve of early stopping as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

from zen_fast.errors import InvalidArgumentError

matplotlib.use("Agg")

from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from zen_fast.bench.skip_work.run import Row

_COLUMNS = (
    "collection",
    "",
    "ms per query",
    "time saved",
    "scored",
    "overlap with exact top k",
    "nDCG@10",
    "p99 overshoot",
)


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """One line for each row, collection by collection."""
    table = Table()
    for title in _COLUMNS:
        table.add_column(title, justify="left" if title in _COLUMNS[:2] else "right")
    before = None
    for row in rows:
        if before not in (None, row.collection):
            table.add_section()
        low, high = row.overlap_interval
        table.add_row(
            "" if row.collection == before else row.collection,
            row.name,
            f"{row.mean_ms:,.1f}",
            f"{row.saved_percent:.0f} %",
            f"{row.scored_percent:.0f} %",
            f"{row.overlap:.3f} ({low:.3f} to {high:.3f})",
            f"{row.ndcg_at_10:.1f}",
            "" if row.overshoot_p99_percent is None else f"{row.overshoot_p99_percent:+.1f} %",
        )
        before = row.collection
    console.print(table)


def write_curve(rows: Sequence[Row], path: Path) -> None:
    """Draw, for each setting of early stopping, time saved against overlap and change of nDCG@10.

    Raises:
        InvalidArgumentError: matplotlib has no format for the file's suffix.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained", sharex=True)
    try:
        for name in dict.fromkeys(row.collection for row in rows):
            own = [row for row in rows if row.collection == name]
            exact = next(row for row in own if row.kind == "exact")
            stops = [row for row in own if row.kind == "early_stop"]
            saved = [row.saved_percent for row in stops]
            overlaps = np.array([row.overlap for row in stops])
            bounds = np.array([row.overlap_interval for row in stops]).T
            left.errorbar(saved, overlaps, yerr=np.abs(bounds - overlaps), fmt="o-", capsize=3)
            for row in stops:
                left.annotate(f"{row.setting:g}", (row.saved_percent, row.overlap), fontsize=7)
            changes = [100 * (row.ndcg_at_10 / exact.ndcg_at_10 - 1) for row in stops]
            right.plot(saved, changes, "o-", label=name)
        left.set_ylabel("share of the exact top k, with 95 % intervals")
        right.set_ylabel("change of nDCG@10, percent")
        right.axhline(0, color="grey", linewidth=0.8)
        for axes in (left, right):
            axes.set_xlabel("wall-clock time saved, percent")
            axes.grid(alpha=0.3)
        right.legend()
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise InvalidArgumentError(f"cannot plot to {path}: {error}") from error
    finally:
        plt.close(figure)
