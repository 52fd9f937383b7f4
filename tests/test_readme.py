"""The README keeps its promises: every command and snippet runs, and its figures are committed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

import pytest
from tiny_embedders import save_embedder
from toy_training import toy_recipe, write_base, write_collections

from zen_fast import ZenReranker

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PASSAGES = [
    "Greenhouse gases trap heat in the atmosphere.",
    "The weather is sunny today.",
    "Burning fossil fuels releases CO2 into the air.",
]


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    lines = "".join(_blocks("sh")).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line).strip() for line in lines if line.strip()]


def _commands_of(program: str) -> list[str]:
    return [command for command in _commands() if re.match(rf"{program}\b", command)]


def _run(command: list[str] | str, folder: Path, **environment: str) -> str:
    """Run in `folder` with this interpreter's programs first on the path; returns stdout."""
    programs = str(Path(sys.executable).parent)
    process = subprocess.run(
        command,
        shell=isinstance(command, str),
        cwd=folder,
        env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert process.returncode == 0, f"{command}\n{process.stdout}\n{process.stderr}"
    return process.stdout


_SHORT_BENCH = "--quick --queries 1 --candidates 2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "passages.txt").write_text("\n".join(PASSAGES) + "\n")
    records = [json.dumps({"id": i, "text": text}) for i, text in enumerate(PASSAGES)]
    (tmp_path / "passages.jsonl").write_text("\n".join(records) + "\n")
    _write_collection(tmp_path / "path" / "to" / "beir-folder")
    return tmp_path


def _write_collection(folder: Path) -> None:
    """The smallest that the bench accepts: one query warms up, one is timed."""
    (folder / "qrels").mkdir(parents=True)
    queries = ["greenhouse gases", "burning fossil fuels"]
    for name, texts in (("corpus", PASSAGES), ("queries", queries)):
        rows = [json.dumps({"_id": str(i), "title": "", "text": t}) for i, t in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n")
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n0\t0\t1\n1\t2\t1\n")


@pytest.mark.parametrize("snippet", _blocks("python"), ids=lambda snippet: snippet[:40])
def test_readme_python_snippet_runs(snippet: str, folder: Path) -> None:
    _run([sys.executable, "-c", snippet], folder)


def test_readme_first_snippet_prints_what_it_says(folder: Path) -> None:
    first, expected = _blocks("python")[0], _blocks("text")[0]
    assert _run([sys.executable, "-c", first], folder) == expected


def test_readme_every_command_is_of_a_kind_that_is_tested() -> None:
    tested = {"make", "zen-fast", "python -m zen_fast", "pip install", "grep"}
    for command in _commands():
        assert any(command.startswith(kind) for kind in tested), command


@pytest.mark.parametrize("command", [*_commands_of("zen-fast rerank"), *_commands_of("grep")])
def test_readme_rerank_command_runs(command: str, folder: Path) -> None:
    output = _run(command, folder)
    assert "Greenhouse" in output or "CO2" in output


@pytest.mark.parametrize("command", _commands_of("make"))
def test_readme_make_command_runs(command: str) -> None:
    """As written but for time: the bench takes one query of two documents, the tests one file."""
    plan = _run(f"{command} --dry-run --always-make", ROOT)
    assert "pip install" in plan  # the command does its own set-up
    if _run(f"{command} --dry-run", ROOT).count("pip install"):
        pytest.skip("make has not set this checkout up; `make test` does")
    arguments, promised = {
        "make bench": ("--quick --queries 1 --candidates 2", "zen-fp32"),
        "make test": ("-q tests/test_bm25.py", "passed"),
    }[command]
    assert promised in _run(f"{command} ARGS='{arguments}'", ROOT)


@pytest.mark.parametrize("command", _commands_of("python -m zen_fast.bench"))
def test_readme_bench_command_runs(command: str, folder: Path) -> None:
    """As written but for time: one query of two documents."""
    short = "--queries 1 --candidates 12" if "--skip-work" in command else _SHORT_BENCH
    output = _run(f"{command} {short}", folder)
    assert "zen-" in output or "every candidate" in output
    for written in re.findall(r"--(?:json|plot) (\S+)", command):
        assert (folder / written).stat().st_size > 0


@pytest.mark.parametrize("command", _commands_of("python -m zen_fast.train"))
def test_readme_train_command_makes_a_model(command: str, folder: Path) -> None:
    """As written, where the base model, the collection and the recipe of that name are toys."""
    write_collections(folder / "path" / "to" / "collections")
    write_base(folder / "path" / "to" / "all-MiniLM-L6-v2")
    name, out = (re.findall(rf"{option} (\S+)", command)[0] for option in ("--recipe", "--out"))
    recipe = toy_recipe()
    if "--start" in command:
        recipe = dataclasses.replace(recipe, start="zen-mini", layers=(), embedding_weight=0.0)
    (folder / name).write_text(json.dumps(dataclasses.asdict(recipe)))
    _run(command, folder)
    scores = ZenReranker.from_pretrained(folder / out).score("otter", ["An otter.", ""])
    assert len(scores) == 2


@pytest.mark.parametrize("command", _commands_of("zen-fast twin"))
def test_readme_twin_command_makes_a_model(command: str, folder: Path) -> None:
    """As written but for time: a toy collection, two steps."""
    collections = folder / "path" / "to" / "collections"
    write_collections(collections)
    (collections / "toy").rename(collections / "squad")
    _run(f"{command} --steps 2", folder)
    twin = ZenReranker.from_pretrained(folder / "my-twin")
    assert len(twin.score("otter", ["An otter.", "", "A heron."])) == 3


@pytest.mark.parametrize("command", _commands_of("zen-fast quantize"))
def test_readme_quantize_command_writes_a_model(command: str, folder: Path) -> None:
    assert "MB" in _run(command, folder)
    reranker = ZenReranker.from_pretrained(folder / command.split()[-1])
    assert reranker.rerank("greenhouse gases", PASSAGES, k=1)[0].document == PASSAGES[0]


@pytest.mark.parametrize("command", _commands_of("zen-fast calibrate"))
def test_readme_calibrate_command_writes_a_calibration(command: str, folder: Path) -> None:
    """As written but for time: one query of each collection, with four candidates."""
    _run(f"{command} --queries 1 --depth 4", folder)
    assert (folder / "early_stop.json").stat().st_size > 0


def test_readme_retrieval_commands_run_one_after_the_other(folder: Path) -> None:
    save_embedder(folder / "path" / "to" / "all-MiniLM-L6-v2")
    programs = ("zen-fast index", "zen-fast search", "zen-fast eval --first-stage")
    commands = [command for program in programs for command in _commands_of(program)]
    assert len(commands) == len(programs)
    outputs = [_run(command, folder) for command in commands]
    assert "Greenhouse" in outputs[1]
    assert "hybrid" in (folder / "report.md").read_text()


def test_readme_early_stop_figures_are_means_of_the_committed_results() -> None:
    results = ROOT / "benchmarks" / "results"
    report = json.loads((results / "zen-mini-early-stop-int8.json").read_text())
    section = README.split("\n## What need not be scored\n")[1].split("\n## ")[0]
    written = re.findall(
        r"^\| ([\d.]+) \| (\d+) % \| ([\d.]+) \| ([\d.]+) \(\w+\) \| ([\d.]+) \|",
        section,
        re.MULTILINE,
    )
    assert len(written) == 5
    for setting, saved, overlap, worst, ndcg in written:
        rows = [row for row in report["rows"] if row["setting"] == float(setting)]
        assert len(rows) == 6
        means = [
            fmean(row[key] for row in rows) for key in ("saved_percent", "overlap", "ndcg_at_10")
        ]
        assert (int(saved), float(overlap), float(ndcg)) == tuple(
            round(mean, digits) for mean, digits in zip(means, (None, 3, 1), strict=True)
        )
        assert float(worst) == round(min(row["overlap"] for row in rows), 3)
        assert float(worst) >= float(setting)


def test_readme_early_stop_figures_of_the_present_weights_are_those_committed() -> None:
    results = ROOT / "benchmarks" / "results"
    rows = json.loads((results / "zen-mini-early-stop-tuned-int8.json").read_text())["rows"]
    text = " ".join(README.split())
    pattern = r"(0\.\d+) keeps (0\.\d+) \((?:the worst )?(0\.\d+)\) and saves (\d+) %"
    written = re.findall(pattern, text)
    assert len(written) == 3
    for setting, kept, worst, saved in written:
        chosen = [row for row in rows if row["setting"] == float(setting)]
        overlaps = [row["overlap"] for row in chosen]
        assert float(kept) == round(fmean(overlaps), 3)
        assert float(worst) == round(min(overlaps), 3) >= float(setting)
        assert int(saved) == round(fmean(row["saved_percent"] for row in chosen))


def test_readme_figures_of_what_is_shared_are_those_of_the_committed_results() -> None:
    results = ROOT / "benchmarks" / "results"
    text = " ".join(README.split())
    prefix = json.loads((results / "shared-prefix-6-layers.json").read_text())["seconds"]
    written = re.search(
        r"transformers ([\d.]+) s a query, fp32 ([\d.]+) s alone and ([\d.]+) s shared, "
        r"int8 \[([\d.]+) and ([\d.]+) s\]",
        text,
    )
    assert written is not None
    assert [float(each) for each in written.groups()] == [
        round(median(seconds), 1) for seconds in prefix.values()
    ]
    head = json.loads((results / "zen-mini-shared-head.json").read_text())["precisions"]
    for row in head.values():
        assert f"[{round(row['saved_percent'])} % of the time]" in text
        assert round(row["ordinary_could_save_percent"], 1) <= 2.6
    assert "would save 2.5 % there" in text
    models = json.loads((results / "sensitive-layers.json").read_text())["models"]
    planted, plain = models["x100 in the input of layer 2"], models["no outliers"]
    assert f"off by {planted['int8_error']:.2f} deviations without this" in text
    assert f"and {planted['int8_with_kept_error']:.2f} with it]" in text
    assert f"as without outliers ({plain['int8_error']:.2f})" in text


def test_readme_int8_figures_are_those_of_the_committed_results() -> None:
    results = ROOT / "benchmarks" / "results" / "minilm-l6-short-int8.json"
    rows = {row["engine"]: row for row in json.loads(results.read_text())["rows"]}
    section = README.split("\n## int8\n")[1].split("\n## ")[0]
    written = [float(each.replace(",", "")) for each in re.findall(r"([\d,]+) ms", section)]
    engines = (
        "zen-int8",
        "zen-fp32",
        "OnnxRuntimeInt8",
        "CTranslate2Int8",
        "sentence-transformers",
    )
    assert written == [round(rows[engine]["p50_ms"]) for engine in engines]


def test_readme_first_table_is_that_of_the_committed_results() -> None:
    first_screen = README.split("\n## Install\n")[0]
    pattern = r"^\| \[.*\]\((benchmarks/results/.*\.json)\) \| (.*) \|$"
    table = re.findall(pattern, first_screen, re.MULTILINE)
    assert len(table) == 13
    for path, cells in table:
        engine, milliseconds, documents, difference, ndcg, *_ = cells.split(" | ")
        rows = {row["engine"]: row for row in json.loads((ROOT / path).read_text())["rows"]}
        row = rows[engine.split()[0]]
        measured = row["p50_ms"]
        assert milliseconds == (f"{measured:,.0f}" if measured >= 100 else f"{measured:.1f}")
        assert documents == f"{row['documents_per_second']:.1f}"
        assert difference == f"{row['max_abs_logit_difference']:.1e}"
        assert ndcg == ("–" if row["ndcg_at_10"] is None else f"{row['ndcg_at_10']:.4f}")


def test_readme_int8_ratios_are_those_of_the_committed_results() -> None:
    links = re.findall(r"\[([\d.]+)\]\((benchmarks/results/[\w-]+-int8\.json)\)", README)
    assert len(links) == 5
    for written, path in links:
        rows = json.loads((ROOT / path).read_text())["rows"]
        (zen,) = (row for row in rows if row["engine"] == "zen-int8")
        others = [ratio for name, ratio in zen["speedup_over"].items() if name.endswith("Int8")]
        assert float(written) == round(min(others), 2)


def test_readme_int8_quality_is_that_of_the_committed_results() -> None:
    path = "benchmarks/results/zen-mini-int8-quality.json"
    (written,) = re.findall(rf"\[([+-][\d.]+) %\]\({path}\)", README)
    report = json.loads((ROOT / path).read_text())
    assert float(written) == round(report["change_of_mean_percent"]["zen-mini int8"], 2)
    changes = sorted(each["columns"][1]["relative_change"] for each in report["collections"])
    assert len(changes) == 12
    large = [round(change, 1) for change in changes if abs(change) >= 1]
    assert large == [-5.7, -1.3, 1.7]


def test_readme_gpu_figures_are_those_of_the_committed_report() -> None:
    section = README.split("\n## On a GPU\n")[1].split("\n## ")[0]
    report = json.loads((ROOT / "benchmarks/results/gpu-gate-h100.json").read_text())
    measured = {
        (row["shape"], row["num_tokens"], row["engine"]): row
        for row in report["model"]
        if row["precision"] == "fp16"
    }
    rows = re.findall(r"^\| ([\w-]+) \| ([\d,]+) \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 8
    for shape, tokens, cells in rows:
        num_tokens = int(tokens.replace(",", ""))
        ours, stock = (measured[shape, num_tokens, name] for name in ("zen", "transformers"))
        our_ms, stock_ms = (each["times"]["model"]["p50_ms"] for each in (ours, stock))
        assert cells.split(" | ") == [
            f"{our_ms:.2f}",
            f"{stock_ms:.2f}",
            f"{stock_ms / our_ms:.1f}",
            f"{ours['times']['cached']['p50_ms']:.2f}",
            f"{ours['saturated_documents_per_second']:,.0f}",
        ]
        difference = ours["max_abs_logit_difference"] / stock["max_abs_logit_difference"]
        assert difference <= 1.25
        assert ours["refused"] is None


def test_readme_zen_mini_quality_is_that_of_the_committed_results() -> None:
    section = README.split("\n## zen-mini, and training your own\n")[1].split("\n## ")[0]
    files = set(re.findall(r"\((benchmarks/results/zen-mini-quality-\w+\.json)\)", section))
    measured = {
        (each["collection"], each["num_queries"]): each
        for path in files
        for each in json.loads((ROOT / path).read_text())["collections"]
    }
    pattern = r"^\| ([\w-]+)[^|]* \| (\d+) \| ([\d.]+) \| ([\d.]+) \|"
    rows = re.findall(pattern, section, re.MULTILINE)
    assert len(rows) == len(measured) > 0
    for name, num_queries, bm25, reranked in rows:
        result = measured[name, int(num_queries)]
        assert float(bm25) == round(result["first_stage"], 1)
        assert float(reranked) == round(result["columns"][0]["ndcg_at_10"], 1)


def test_readme_installs_only_extras_that_exist() -> None:
    declared = set(
        re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    )
    for extras in re.findall(r"zen-fast\[([\w,]+)\]", README):
        assert set(extras.split(",")) <= declared


def _committed_rows() -> dict[tuple[str, str], dict[str, Any]]:
    """(results file, engine) → row, for every results file of the README's first table."""
    rows = {}
    links = re.findall(r"\(benchmarks/results/([\w.-]+(?<!-int8)\.json)\)", README)
    for name in sorted(set(links)):
        report = json.loads((ROOT / "benchmarks" / "results" / name).read_text())
        for row in report.get("rows", []):
            rows[name, row["engine"]] = row
    return rows


def test_readme_figures_are_those_of_the_committed_results() -> None:
    """Each row of a measured table names its results file and engine; its figures must agree."""
    committed = _committed_rows()
    table_rows = re.findall(
        r"^\| \[.*?\]\(benchmarks/results/([\w.-]+)\) \| ([\w-]+)[^|]*\| ([\d,.]+) \| ([\d,.]+) \|"
        r" ([\d.e+-]+) \| ([\d.–]+) \|",
        README,
        flags=re.MULTILINE,
    )
    assert len(table_rows) == len(committed) >= 6
    for name, engine, p50, documents, difference, ndcg in table_rows:
        row = committed[name, engine]
        assert float(p50.replace(",", "")) == pytest.approx(row["p50_ms"], rel=0.005)
        assert float(documents.replace(",", "")) == pytest.approx(
            row["documents_per_second"], rel=0.005, abs=0.5
        )
        assert float(difference) == pytest.approx(row["max_abs_logit_difference"], rel=0.06)
        if ndcg != "–":
            assert float(ndcg) == pytest.approx(row["ndcg_at_10"], abs=5e-5)
