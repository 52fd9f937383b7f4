"""What an evaluation leaves behind: JSON, Markdown, CSV, and a plot."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from zen_fast.errors import InvalidArgumentError, MissingDependencyError
from zen_fast.eval.quality import CollectionQuality, ColumnQuality, RankingQuality
from zen_fast.eval.table import Results, mean_relative_change, sheets
from zen_fast.machine import describe_run

_CSV_COLUMNS = (
    "collection",
    "split",
    "candidates",
    "system",
    "num_queries",
    "ndcg_at_10",
    "mrr_at_10",
    "recall_at_10",
    "recall_at_depth",
    "p50_ms",
    "p99_ms",
    "gain",
    "gain_low",
    "gain_high",
    "gain_p_value",
)


def json_report(
    settings: Mapping[str, Any], arguments: Sequence[str], results: Results
) -> dict[str, Any]:
    """Everything, with where and how it was measured.

    Args:
        settings: entries of the evaluation as a whole.
    """
    return {
        **describe_run(["python", "-m", "zen_fast.eval", *arguments]),
        **settings,
        "measure": "nDCG@10 x 100; changes and differences are from the first column",
        "change_of_mean_percent": {
            column.name: mean_relative_change(results, place)
            for place, column in enumerate(results[0].columns)
        },
        "collections": [asdict(result) for result in results],
    }


def write_json(report: Mapping[str, Any], path: Path) -> None:
    """Write what `json_report` gives."""
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def write_markdown(results: Results, path: Path) -> None:
    """Write every table."""
    path.write_text("\n".join(sheet.markdown() for sheet in sheets(results)), encoding="utf-8")


def write_csv(results: Results, path: Path) -> None:
    """Write one line for each collection and system; `gain` is over the first stage, in points."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _CSV_COLUMNS)
        writer.writeheader()
        for result in results:
            for ranking in (result.retrieval, *result.columns):
                writer.writerow(_csv_row(result, ranking))


def _csv_row(result: CollectionQuality, ranking: RankingQuality) -> dict[str, Any]:
    row = {
        "collection": result.collection,
        "split": result.split,
        "candidates": result.candidates,
        "system": "" if ranking is result.retrieval else ranking.name,
        "num_queries": result.num_queries,
        "ndcg_at_10": ranking.ndcg_at_10,
        "mrr_at_10": ranking.mrr_at_10,
        "recall_at_10": ranking.recall_at_10,
        "recall_at_depth": result.recall_at_depth,
        "p50_ms": ranking.p50_ms,
        "p99_ms": ranking.p99_ms,
    }
    if isinstance(ranking, ColumnQuality):
        row |= {
            "gain": ranking.gain.difference,
            "gain_low": ranking.gain.low,
            "gain_high": ranking.gain.high,
            "gain_p_value": ranking.gain.p_value,
        }
    return row


def write_plot(results: Results, path: Path) -> None:
    """Draw the mean nDCG@10 of each system against what its reranker takes for a query.

    Raises:
        InvalidArgumentError: matplotlib has no format for the file's suffix.
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise MissingDependencyError("a plot needs matplotlib: pip install matplotlib") from error
    stages = dict.fromkeys(result.candidates for result in results)
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    try:
        for index, stage in enumerate(stages):
            of_stage = [result for result in results if result.candidates == stage]
            alone = fmean(result.first_stage for result in of_stage)
            axes.axhline(alone, linestyle=":", color=f"C{index}", label=f"{stage} alone")
            for place, column in enumerate(of_stage[0].columns):
                columns = [result.columns[place] for result in of_stage]
                axes.plot(
                    fmean(each.p50_ms or 0.0 for each in columns),
                    fmean(each.ndcg_at_10 for each in columns),
                    "osD^v*"[place % 6],
                    color=f"C{index}",
                    label=f"{stage} → {column.name}",
                )
        axes.set_xscale("log")
        for axis_ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            axis_ticks("{x:,g}")
        axes.set_xlabel("reranking, ms per query: p50, mean over collections (log scale)")
        axes.set_ylabel("nDCG@10 x 100, mean over collections")
        axes.grid(alpha=0.3, which="both")
        axes.legend(fontsize="small")
        figure.savefig(path, dpi=150)
    except ValueError as error:
        raise InvalidArgumentError(f"cannot plot to {path}: {error}") from error
    finally:
        plt.close(figure)
