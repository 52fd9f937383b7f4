"""Evaluations with a first stage of every kind, from the command line to the files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("usearch")

from tiny_embedders import save_embedder
from tiny_rerankers import save_reranker

from zen_fast.command_line import USER_MISTAKE
from zen_fast.eval.__main__ import main
from zen_fast.eval.metrics import query_measures

TEXTS = {
    "a": "Plants use light to turn carbon dioxide into sugar.",
    "b": "Plants are sold at the market on Sunday.",
    "c": "The museum's café opens at ten.",
    "q1": "How do plants make sugar?",  # a document that a query is made of, as in ArguAna
}
QUERIES = {"q1": "How do plants make sugar?", "q2": "café", "q3": "xylophone"}
QRELS = {"q1": {"a": 1, "b": 0}, "q2": {"c": 2}, "q3": {"a": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "toy"
    (made / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", TEXTS), ("queries", QUERIES)):
        rows = [json.dumps({"_id": key, "text": text}) for key, text in texts.items()]
        (made / f"{name}.jsonl").write_text("\n".join(rows))
    lines = [f"{q}\t{d}\t{grade}\n" for q, grades in QRELS.items() for d, grade in grades.items()]
    (made / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return made


@pytest.fixture
def models(tmp_path: Path) -> list[str]:
    save_embedder(tmp_path / "embedder")
    save_reranker(tmp_path / "reranker")
    return ["--embedder", str(tmp_path / "embedder"), "--model", str(tmp_path / "reranker")]


def _report(path: Path) -> dict[str, Any]:
    return {each["candidates"]: each for each in json.loads(path.read_text())["collections"]}


def test_every_first_stage_is_reranked_and_reported(
    tmp_path: Path, folder: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("json", "markdown", "csv")}
    arguments = [*models, "--precision", "fp32,int8", "--index", str(tmp_path / "indexes")]
    arguments += ["--write-runs", str(tmp_path / "runs"), "--plot", str(tmp_path / "out.png")]
    for name, path in files.items():
        arguments += [f"--{name}", str(path)]
    assert main([*arguments, "--first-stage", "bm25,dense,hybrid", str(folder)]) == 0
    results = _report(files["json"])
    assert list(results) == ["bm25", "dense", "hybrid"]
    # BM25 finds the documents of two queries first; nothing has the third's word.
    bm25 = results["bm25"]
    assert bm25["query_ids"] == ["q1", "q2", "q3"]
    assert bm25["retrieval"]["query_ndcg"] == [100, 100, 0]
    assert bm25["recall_at_depth"] == pytest.approx(200 / 3)
    assert results["dense"]["recall_at_depth"] == 100
    for result in results.values():
        fp32, int8 = result["columns"]
        assert fp32["against_first"]["difference"] == 0
        gain = fp32["ndcg_at_10"] - result["first_stage"]
        assert fp32["gain"]["difference"] == pytest.approx(gain, abs=1e-3)
        assert int8["p99_ms"] >= int8["p50_ms"] > 0
    printed = capsys.readouterr().out
    markdown = files["markdown"].read_text()
    for text in ("Retriever alone and pipeline", "reranker int8 against reranker fp32"):
        assert text in printed
        assert text in markdown
    assert "| hybrid → reranker int8 |" in markdown
    rows = list(csv.DictReader(files["csv"].open()))
    assert len(rows) == 3 * (1 + 2)
    assert float(rows[1]["gain"]) == pytest.approx(
        bm25["columns"][0]["gain"]["difference"], abs=1e-9
    )
    assert [path.name for path in (tmp_path / "indexes").iterdir()] == ["toy"]
    assert (tmp_path / "out.png").stat().st_size > 1000

    # A run that was written is a first stage in its turn, and an index is used again.
    again = tmp_path / "again.json"
    runs = f"{tmp_path / 'runs' / 'hybrid'},hybrid"
    arguments[arguments.index("--json") + 1] = str(again)
    assert main([*arguments, "--first-stage", runs, str(folder)]) == 0
    from_run = _report(again)["hybrid.trec"]
    assert from_run["retrieval"]["query_ndcg"] == results["hybrid"]["retrieval"]["query_ndcg"]
    assert from_run["columns"][0]["ndcg_at_10"] == results["hybrid"]["columns"][0]["ndcg_at_10"]
    assert from_run["retrieval"]["p50_ms"] is None


def test_models_and_runs_of_one_name_are_told_apart(
    tmp_path: Path, folder: Path, models: list[str]
) -> None:
    copies = [tmp_path / name / "final" for name in ("run1", "run2")]
    for copy in copies:
        shutil.copytree(models[3], copy)
    named = ",".join(map(str, copies))
    runs, out = tmp_path / "runs", tmp_path / "out.json"
    options = ["--model", named, "--first-stage-weight", "0.2,0.6", "--write-runs", str(runs)]
    assert main([*options, "--json", str(out), str(folder)]) == 0
    columns = [each["name"] for each in _report(out)["bm25"]["columns"]]
    assert columns[:2] == [f"{copy} auto" for copy in copies]
    assert len(columns) == 2 * 3
    mixed = sorted(str(path) for path in runs.glob("*first-stage"))
    assert len(mixed) == 2 * 2
    options = [*models[2:], "--first-stage", ",".join(mixed), "--json", str(out)]
    assert main([*options, str(folder)]) == 0
    assert list(_report(out)) == [f"{Path(run).name}.trec" for run in mixed]


def test_kept_index_of_other_texts_is_refused(
    tmp_path: Path, folder: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*models[2:], "--index", str(tmp_path / "indexes"), str(folder)]
    assert main(arguments) == 0
    assert main(arguments) == 0
    corpus = folder / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace("Sunday", "Monday"))
    assert main(arguments) == USER_MISTAKE
    assert "holds other documents than toy: delete it" in capsys.readouterr().err
    path = tmp_path / "indexes" / "toy" / "index.json"
    manifest = json.loads(path.read_text())
    del manifest["texts_sha256"]  # as an index of early days has it
    path.write_text(json.dumps(manifest))
    assert main(arguments) == 0


def test_kept_bm25_index_says_that_hybrid_needs_vectors(
    tmp_path: Path, folder: Path, models: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*models, "--index", str(tmp_path / "indexes"), str(folder)]
    assert main(arguments[2:]) == 0
    capsys.readouterr()
    assert main([*arguments, "--first-stage", "hybrid"]) == USER_MISTAKE
    error = capsys.readouterr().err
    assert "toy holds an index by BM25 alone, without vectors" in error
    assert "delete that index" in error


@pytest.mark.parametrize("first_stage", ["bm25", "hybrid"])
def test_index_folder_is_checked_first_and_its_neighbour_left_alone(
    tmp_path: Path, folder: Path, models: list[str], first_stage: str
) -> None:
    indexes = tmp_path / "indexes"
    for name in ("toy", "toy.partial"):
        (indexes / name).mkdir(parents=True)
        (indexes / name / "notes.txt").write_text("mine")
    arguments = models[2:] if first_stage == "bm25" else models
    arguments = [*arguments, "--index", str(indexes), "--first-stage", first_stage, str(folder)]
    assert main(arguments) == USER_MISTAKE
    (indexes / "toy" / "notes.txt").unlink()
    assert main(arguments) == 0
    assert [path.name for path in (indexes / "toy.partial").iterdir()] == ["notes.txt"]


def test_one_collection_may_be_judged_and_another_retrieved(
    tmp_path: Path, folder: Path, models: list[str]
) -> None:
    out = tmp_path / "out.json"
    arguments = [*models[2:], "--json", str(out), f"{folder}:test:judged", f"{folder}:test"]
    assert main(arguments) == 0
    assert {key: each["num_pairs"] for key, each in _report(out).items()} == {
        "judged": 4,
        "bm25": 3,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--judged", "--first-stage", "dense"], "--judged reranks judged documents"),
        (["--first-stage", "dense"], "--first-stage dense needs a bi-encoder"),
        (["--embedder", "any"], "--embedder is for --first-stage dense or hybrid"),
        (["--first-stage", "absent.trec"], "cannot read the run absent.trec"),
        (["--first-stage", "{run}"], "holds none of the 3 queries of toy"),
        (["--plot", "{run}.abc"], "cannot plot to"),
        (["{folder}:test:pool"], "after the split may come `judged`, not 'pool'"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    folder: Path,
    models: list[str],
    capsys: pytest.CaptureFixture[str],
    change: list[str],
    message: str,
) -> None:
    run = tmp_path / "run.trec"
    run.write_text("other Q0 a 1 0.5 tag\n")
    change = [each.format(run=run, folder=folder) for each in change]
    assert main([*models[2:], str(folder), *change]) == USER_MISTAKE
    error = capsys.readouterr().err
    assert message in error


def test_query_measures_count_a_query_without_documents_as_0() -> None:
    run = {"q2": {"c": 1.0}, "q1": {}, "q3": {"b": 2.0, "a": 1.0}}
    values = query_measures(QRELS, run)
    assert values["nDCG@10"].tolist() == pytest.approx([1, 0, 0.6309297535714575])
    assert values["RR@10"].tolist() == [1, 0, 0.5]
    assert values["R@10"].tolist() == [1, 0, 1]
