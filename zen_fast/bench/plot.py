"""Latency against quality, one point for each engine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from zen_fast.errors import InvalidArgumentError

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def write_plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw p50 latency with a whisker to p95 against nDCG@10, or Kendall's tau without judgements.

    Raises:
        InvalidArgumentError: matplotlib has no format for the file's suffix.
    """
    rows = [row for row in report["rows"] if not row["refused"]]
    judged = all(row["ndcg_at_10"] is not None for row in rows)
    quality = "ndcg_at_10" if judged else "kendall_tau"
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    try:
        for row in rows:
            p50, p95 = row["p50_ms"], row["p95_ms"]
            axes.errorbar(
                p50, row[quality], xerr=[[0], [p95 - p50]], fmt="o", capsize=3, label=row["engine"]
            )
        axes.set_xscale("log")
        for axis_ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            axis_ticks("{x:,g}")
        axes.set_xlabel("latency per query, ms: p50, whisker to p95 (log scale)")
        axes.set_ylabel("nDCG@10" if judged else "Kendall τ against stock transformers")
        axes.set_title(
            f"{report['model']['name']}, {report['workload']} on {report['collection']}, "
            f"threads: {report['threads']}",
            fontsize="medium",
        )
        axes.grid(alpha=0.3, which="both")
        axes.legend()
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise InvalidArgumentError(f"cannot plot to {path}: {error}") from error
    finally:
        plt.close(figure)
