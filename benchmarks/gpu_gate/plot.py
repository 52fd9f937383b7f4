"""Model time beside the stock engines', a panel for each shape."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt


def write_plot(path: Path) -> None:
    """Draw what gpu_gate.json beside `path` says of short documents.

    Raises:
        SystemExit: no model was measured.
    """
    report = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    rows = [
        row
        for row in report.get("model", [])
        if row["workload"] == "short" and "model" in row["times"] and not row["refused"]
    ]
    if not rows:
        raise SystemExit("no model was measured: there is nothing to plot")
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, panels = plt.subplots(
        1, len(shapes), figsize=(3.5 * len(shapes), 3.5), layout="constrained", squeeze=False
    )
    for panel, shape in zip(panels[0], shapes, strict=True):
        chosen = [row for row in rows if row["shape"] == shape]
        labels = [f"{row['engine']} {row['precision']}" for row in chosen]
        panel.barh(labels, [row["times"]["model"]["p50_ms"] for row in chosen])
        panel.scatter(
            [row["expected_ms"] for row in chosen], labels, marker="|", color="black", zorder=2
        )
        panel.set_title(shape, fontsize="medium")
        panel.set_xlabel("ms, p50; mark: on paper")
        panel.invert_yaxis()
    figure.suptitle("Top-100 rerank, model only, short documents", fontsize="medium")
    figure.savefig(path, dpi=150)
    plt.close(figure)
