"""`zen-fast bench --skip-work`: every feature beside scoring every candidate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bm25s")
pytest.importorskip("rich")
pytest.importorskip("matplotlib")
pytest.importorskip("ir_measures")

from zen_fast.bench.__main__ import main
from zen_fast.bench.skip_work.features import EXACT, Feature
from zen_fast.bench.skip_work.run import Answer, summarize
from zen_fast.candidates import Request
from zen_fast.collection import Collection, CollectionDocument


def _nothing(request: Request) -> object:
    raise AssertionError("a summary calls no reranker")


def test_rows_compare_time_overlap_and_quality_with_the_exact_one() -> None:
    documents = {f"d{index}": CollectionDocument("", "text") for index in range(6)}
    judgements = {"q0": {"d0": 1}, "q1": {"d5": 1}}
    collection = Collection("toy", documents, {"q0": "", "q1": ""}, judgements)
    requests = [Request(query, "", tuple(documents), ("text",) * 6) for query in judgements]
    rank: Callable[[Request], object] = _nothing
    compared = [
        Feature(EXACT, "exact", None, rank),  # type: ignore[arg-type]
        Feature("deadline", "deadline", 20.0, rank),  # type: ignore[arg-type]
    ]
    answers = {
        EXACT: [Answer(100.0, (0, 1), 6, "complete"), Answer(100.0, (5, 4), 6, "complete")],
        "deadline": [Answer(10.0, (0, 2), 3, "deadline"), Answer(30.0, (1, 2), 3, "deadline")],
    }
    exact, deadline = summarize(compared, collection, requests, answers)
    assert (exact.overlap, exact.saved_percent, exact.ndcg_at_10) == (1.0, 0.0, 100.0)
    assert deadline.overlap == pytest.approx(0.25)
    assert deadline.overlap_interval[0] <= 0.25 <= deadline.overlap_interval[1]
    assert deadline.saved_percent == pytest.approx(80.0)
    assert deadline.scored_percent == pytest.approx(50.0)
    assert deadline.ndcg_at_10 == pytest.approx(50.0)
    assert deadline.overshoot_p99_percent == pytest.approx(49.0)
    assert exact.overshoot_p99_percent is None


def test_command_measures_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "toy"
    (data / "qrels").mkdir(parents=True)
    words = np.array(["otters", "eat", "fish", "and", "sleep", "in", "the", "river", "by", "night"])
    rng = np.random.default_rng(0)
    rows = [
        json.dumps({"_id": f"d{index}", "title": "", "text": " ".join(rng.choice(words, 8))})
        for index in range(30)
    ]
    (data / "corpus.jsonl").write_text("\n".join(rows))
    (data / "queries.jsonl").write_text('{"_id": "q", "text": "otters eat fish river"}\n')
    (data / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td3\t1\n")
    json_path, plot_path = tmp_path / "report.json", tmp_path / "curve.png"
    arguments = f"--skip-work --data {data} --early-stop 0.8,0.9 --deadline-ms 500 --threads 1"
    assert main([*arguments.split(), "--json", str(json_path), "--plot", str(plot_path)]) == 0
    report = json.loads(json_path.read_text())
    assert [row["kind"] for row in report["rows"]] == [
        "exact",
        *["cache"] * 2,
        *["early_stop"] * 2,
        "deadline",
        *["long"] * 2,
    ]
    by_name = {row["name"]: row for row in report["rows"]}
    for name in (EXACT, "score cache, first call", "score cache, same call again"):
        assert by_name[name]["overlap"] == 1.0
        assert by_name[name]["scored_percent"] == 100.0
    assert plot_path.stat().st_size > 0
    assert "score cache" in capsys.readouterr().out
    assert main(["--skip-work", "--data", str(data), "--json", str(tmp_path / "no" / "x")]) == 2
