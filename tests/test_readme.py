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


_SHORT_BENCH = "--quick --queries 1 --candidates 8"  # int8 is held to what sets these apart


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
    """As written but for time: the bench takes one query of few documents, the tests one file."""
    plan = _run(f"{command} --dry-run --always-make", ROOT)
    assert "pip install" in plan  # the command does its own set-up
    if _run(f"{command} --dry-run", ROOT).count("pip install"):
        pytest.skip("make has not set this checkout up; `make test` does")
    arguments, promised = {
        "make bench": (_SHORT_BENCH, "zen-int8"),
        "make test": ("-q tests/test_bm25.py", "passed"),
    }[command]
    assert promised in _run(f"{command} ARGS='{arguments}'", ROOT)


@pytest.mark.parametrize("command", _commands_of("python -m zen_fast.bench"))
def test_readme_bench_command_runs(command: str, folder: Path) -> None:
    """As written but for time: one query of few documents."""
    short = "--queries 1 --candidates 12" if "--skip-work" in command else _SHORT_BENCH
    output = _run(f"{command} {short}", folder)
    assert "zen-" in output or "every candidate" in output
    for written in re.findall(r"--(?:json|plot) (\S+)", command):
        assert (folder / written).stat().st_size > 0


@pytest.mark.parametrize("command", _commands_of("zen-fast train"))
def test_readme_train_command_makes_a_model(command: str, folder: Path) -> None:
    """As written, but on the CPU: base model, collection and the recipe of that name are toys."""
    command = command.replace("--device cuda ", "")
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


@pytest.mark.parametrize("command", _commands_of("zen-fast platt"))
def test_readme_platt_command_writes_a_model(command: str, folder: Path) -> None:
    assert "times as large" in " ".join(
        _run(command.replace(" -- ", " --queries 2 -- "), folder).split()
    )
    logits = [
        ZenReranker.from_pretrained(model, activation="identity").score("gases", PASSAGES)
        for model in ("zen-mini", folder / command.split()[-1])
    ]
    assert [each.argmax() for each in logits] == [logits[0].argmax()] * 2


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


def test_readme_platt_losses_are_those_of_the_committed_results() -> None:
    path = "benchmarks/results/zen-mini-platt-int8.json"
    squad, cranfield, clariq = _results(path)["held_out"]
    names = [each["collection"] for each in (squad, cranfield, clariq)]
    assert names == ["data/squad:dev", "data/cranfield", "data/clariq"]
    text = " ".join(README.split())
    for sentence, losses in (
        (f"[from {{:.2f}} to {{:.2f}} nats]({path})", squad),
        ("on cranfield from {:.2f} to {:.2f},", cranfield),
        ("were right before, from {:.2f} to {:.2f}.", clariq),
    ):
        assert sentence.format(losses["loss_before"], losses["loss_scaled"]) in text


def test_readme_cache_and_deadline_figures_are_those_of_the_committed_results() -> None:
    path = "benchmarks/results/zen-mini-cache-deadline-int8.json"
    exact, _, again, *deadlines = _results(path)["rows"]
    text = " ".join(README.split())
    assert f"[{again['mean_ms']:.1f} ms, scoring them {exact['mean_ms']:.0f} ms]({path})" in text
    assert [row["setting"] for row in (deadlines[0], deadlines[-1])] == [20, 200]
    worst = max(row["overshoot_p99_percent"] for row in deadlines)
    assert f"from 20 to 200 ms, {exact['num_queries']} calls each" in text
    assert f"the 99th percentile was over by at most {worst:.0f} %" in text


def test_readme_figures_of_long_documents_are_those_of_the_committed_results() -> None:
    report = _results("benchmarks/results/zen-mini-long-documents-int8.json")
    whole, cut, windows = report["rows"]
    assert f"(`time`, {whole['num_queries']} queries) the best two windows" in README
    ranked = [f"{row['ndcg_at_10']:.1f}" for row in (windows, cut, whole)]
    seconds = [f"{row['mean_ms'] / 1e3:.2f}" for row in (windows, cut, whole)]
    text = " ".join(README.split())
    assert "(nDCG@10 {}) than cutting off at 128 ({}) or at 512 tokens ({})".format(*ranked) in text
    assert "in {} s where these take {} and {}.".format(*seconds) in text


def test_readme_early_stop_figures_are_means_of_the_committed_results() -> None:
    report = _results("benchmarks/results/zen-mini-early-stop-int8.json")
    section = README.split("\n## What need not be scored\n")[1].split("\n## ")[0]
    written = re.findall(
        r"^\| ([\d.]+) \| (-?\d+) % \| ([\d.]+) \| ([\d.]+) \(\w+\) \| ([\d.]+) \|",
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


def test_readme_early_stop_figures_of_the_epyc_are_those_committed() -> None:
    rows = _results("benchmarks/results/zen-mini-early-stop-tuned-int8.json")["rows"]
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
    text = " ".join(README.split())
    prefix = _results("benchmarks/results/shared-prefix-6-layers.json")["seconds"]
    written = re.search(
        r"transformers ([\d.]+) s a query, fp32 ([\d.]+) s alone and ([\d.]+) s shared, "
        r"int8 \[([\d.]+) and ([\d.]+) s\]",
        text,
    )
    assert written is not None
    assert [float(each) for each in written.groups()] == [
        round(median(seconds), 1) for seconds in prefix.values()
    ]
    head = _results("benchmarks/results/zen-mini-shared-head.json")["precisions"]
    for row in head.values():
        assert f"[{round(row['saved_percent'])} % of the time]" in text
        assert round(row["ordinary_could_save_percent"], 1) <= 2.6
    assert "would save 2.5 % there" in text
    models = _results("benchmarks/results/sensitive-layers.json")["models"]
    planted, plain = models["x100 in the input of layer 2"], models["no outliers"]
    assert f"off by {planted['int8_error']:.2f} deviations without this" in text
    assert f"and {planted['int8_with_kept_error']:.2f} with it]" in text
    assert f"as without outliers ({plain['int8_error']:.2f})" in text


def test_figures_of_the_twin_are_those_of_the_committed_results() -> None:
    path = "benchmarks/results/zen-mini-twin-quality-int8.json"
    parts = _results(path)["collections"]
    measured = [
        (
            part["num_queries"],
            round(part["first_stage"], 1),
            *(round(column["ndcg_at_10"], 1) for column in part["columns"]),
        )
        for part in parts
    ]
    bm25 = fmean(part["first_stage"] for part in parts)
    zen_mini, twin = (
        fmean(part["columns"][place]["ndcg_at_10"] for part in parts) for place in (0, 1)
    )
    text = " ".join(README.split())
    means = f"at {zen_mini:.1f} on the mean and the twin at {twin:.1f}"
    assert f"zen-mini is [{means}]({path}), BM25 at {bm25:.1f};" in text

    card = (ROOT / "zen_fast/models/zen-mini-twin/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+)(?: \(judged\))? \| ([\d,]+) \| (.*) \|$", card, re.MULTILINE)
    assert [name for name, _, _ in rows] == [part["collection"] for part in parts]
    written = [
        (int(count.replace(",", "")), *map(float, cells.split(" | "))) for _, count, cells in rows
    ]
    assert written == measured
    assert f"| mean | | {bm25:.1f} | {zen_mini:.1f} | {twin:.1f} |" in card


def test_readme_first_table_is_that_of_the_committed_results() -> None:
    pattern = r"^\| \[.*\]\((benchmarks/results/.*\.json)\) \| (.*) \|$"
    table = re.findall(pattern, _first_screen(), re.MULTILINE)
    assert len(table) == 6
    (avx2,) = re.findall(r"\n\| a query with AVX2 \|.*?\n\n", README, re.DOTALL)
    older = re.findall(pattern, avx2, re.MULTILINE)
    assert len(older) == 6
    machines = ({_results(path)["machine"]["cpu"] for path, _ in rows} for rows in (table, older))
    assert [len(names) for names in machines] == [1, 1]
    for path, cells in table + older:
        medians = {row["engine"]: row["p50_ms"] for row in _results(path)["rows"]}
        others = [medians[name] for name in medians if name.endswith("Int8")]
        columns = (
            medians.get("sentence-transformers"),
            medians["transformers"],
            min(others, default=None),
            medians.get("zen-fp32"),
            medians["zen-int8"],
        )
        assert cells.split(" | ") == [_milliseconds(median) for median in columns]


def test_readme_first_screen_says_what_else_was_measured() -> None:
    text = " ".join(_first_screen().split())
    report = _results("benchmarks/results/zen-mini-default-vnni.json")
    rows = {row["engine"]: row for row in report["rows"]}
    zen, stock = rows["zen-fp32"], rows["sentence-transformers"]
    spread = report["inputs"]["logit_spread"]
    assert f"at most {zen['max_abs_logit_difference']:.1e}, where" in text
    assert f"spread over {spread:.1f};" in text
    assert text.count(f"{zen['cold_start_seconds']:.2f} seconds and takes") == 1
    assert f"takes {zen['peak_rss_bytes'] / 1e6:.0f} MB;" in text
    assert f"takes {stock['cold_start_seconds']:.2f} seconds" in text
    assert f"seconds and {stock['peak_rss_bytes'] / 1e6:,.0f} MB" in text
    quality = _results("benchmarks/results/zen-mini-int8-quality.json")
    change = quality["change_of_mean_percent"]["zen-mini int8"]
    assert f"nDCG@10 changes by {change:.2f} % on the mean of twelve" in text
    # The row's own test compares it with the report.
    pattern = (
        r"^\| minilm-l6 \| 8,801 \| ([\d.]+) \| [\d.]+ \| [\d.]+ \| ([\d.]+) \| [\d.]+ \| ([\d.]+)"
    )
    gpu = re.findall(pattern, README, re.MULTILINE)
    model, stock_model, from_strings = gpu[0]
    assert f"an H200 takes {from_strings} ms for the first row, and {model} from token ids" in text
    assert f"from token ids, where transformers takes {stock_model}." in text


def test_readme_encoding_figures_are_those_of_the_committed_results() -> None:
    text = " ".join(README.split())
    pattern = (
        r"\[([\d.]+) times\]\((benchmarks/results/encoding-\w+-int8(?:-vnni)?\.json)\)[^(]*"
        r"\((?:recall@100 of )?([\d.]+) and ([\d.]+)\)"
    )
    found = re.findall(pattern, text)
    assert len(found) == 4
    for times, path, ours, others in found:
        engines = _results(path)["engines"]
        zen, stock = engines["zen-int8"], engines["sentence-transformers"]
        assert float(times) == round(zen["documents_per_s"] / stock["documents_per_s"], 1)
        assert [float(ours), float(others)] == [round(each["R@100"], 1) for each in (zen, stock)]


def test_readme_int8_ratios_are_those_of_the_committed_results() -> None:
    pattern = r"\[([\d.]+)\]\((benchmarks/results/[\w-]+-int8(?:-vnni)?\.json)\)"
    links = re.findall(pattern, README)
    assert len(links) == 10
    for written, path in links:
        rows = _results(path)["rows"]
        (zen,) = (row for row in rows if row["engine"] == "zen-int8")
        others = [ratio for name, ratio in zen["speedup_over"].items() if name.endswith("Int8")]
        assert float(written) == round(min(others), 2)


def test_readme_int8_agreement_is_that_of_the_committed_results() -> None:
    shapes = ("minilm-l6-short", "minilm-l12-short", "base-short", "minilm-l6-long")
    ours, others = [], []
    for shape in shapes:
        for row in _results(f"benchmarks/results/{shape}-int8-vnni.json")["rows"]:
            if row["precision"] == "int8":
                kept = round(100 * row["top_10_overlap"])
                (ours if row["engine"] == "zen-int8" else others).append(kept)
    assert (len(ours), len(others)) == (4, 8)
    text = " ".join(README.split())
    assert f"ours keeps {min(ours)} to {max(ours)} % of the exact top 10" in text
    assert f"ONNX Runtime's and CTranslate2's {min(others)} to {max(others)} %" in text


def test_readme_int8_quality_is_that_of_the_committed_results() -> None:
    path = "benchmarks/results/zen-mini-int8-quality.json"
    (written,) = re.findall(rf"\[([+-][\d.]+) %\]\({path}\)", README)
    report = _results(path)
    assert float(written) == round(report["change_of_mean_percent"]["zen-mini int8"], 2)
    changes = {
        each["collection"]: round(each["columns"][1]["relative_change"], 1)
        for each in report["collections"]
    }
    assert len(changes) == 12
    large = {name: change for name, change in changes.items() if abs(change) >= 1}
    assert large == {"cacm": 1.6, "aila-statutes": 3.8}
    text = " ".join(README.split())
    assert "ten of them change by less than 1 %, cacm, of 52 queries, by +1.6 %" in text
    assert "nDCG@10 is 6 out of 100, by +3.8 %" in text
    taus = [each["columns"][1]["kendall_tau"] for each in report["collections"]]
    assert [round(each(taus), 2) for each in (min, max)] == [0.98, 0.98]
    exact, quantized = (
        fmean(each["columns"][column]["ndcg_at_10"] for each in report["collections"])
        for column in (0, 1)
    )
    assert f"from {exact:.2f} to {quantized:.2f};" in text
    card = " ".join((ROOT / "zen_fast/models/zen-mini/README.md").read_text().split())
    assert f"{exact:.2f} in fp32 and {quantized:.2f} in int8" in card


def test_readme_gpu_figures_are_those_of_the_committed_report() -> None:
    section = README.split("\n## On a GPU\n")[1].split("\n## ")[0]
    report = _results("benchmarks/results/gpu-gate-h200.json")
    measured = {
        (row["shape"], row["num_tokens"], row["engine"], row["precision"]): row
        for row in report["model"]
    }
    rows = re.findall(r"^\| ([\w-]+) \| ([\d,]+) \| (.*) \|$", section, re.MULTILINE)
    assert len(rows) == 8
    for shape, tokens, cells in rows:
        num_tokens = int(tokens.replace(",", ""))
        ours, int8, fp8 = (
            measured[shape, num_tokens, "zen", precision] for precision in ("fp16", "int8", "fp8")
        )
        stock = measured[shape, num_tokens, "transformers", "fp16"]
        milliseconds = [each["times"]["model"]["p50_ms"] for each in (ours, int8, fp8, stock)]
        assert cells.split(" | ") == [
            *(f"{each:.2f}" for each in milliseconds),
            f"{milliseconds[3] / milliseconds[0]:.1f}",
            f"{ours['times']['cached']['p50_ms']:.2f}",
            f"{ours['saturated_documents_per_second']:,.0f}",
        ]
        difference = ours["max_abs_logit_difference"] / stock["max_abs_logit_difference"]
        assert difference <= 1.3
        assert all(each["refused"] is None for each in (ours, int8, fp8))
    compiled = measured["minilm-l6", 8801, "transformers-compiled", "fp16"]
    assert f"{compiled['times']['model']['p50_ms']:.2f} ms on minilm-l6" in section


def test_card_shares_are_those_of_the_committed_results() -> None:
    card = (ROOT / "zen_fast/models/zen-mini/README.md").read_text()
    section = card.split("\n## Measured\n")[1].split("\n## ")[0]
    measured = {
        (each["collection"], each["num_queries"]): each
        for each in _results("benchmarks/results/zen-mini-quality-shares.json")["collections"]
    }
    pattern = r"^\| ([\w-]+)[^|]* \| ([\d,]+) \| ([\d.]+(?: \| [\d.]+){4}) \|"
    rows = re.findall(pattern, section, re.MULTILINE)
    assert len(rows) == len(measured) > 0
    for name, num_queries, cells in rows:
        result = measured[name, int(num_queries.replace(",", ""))]
        shipped, half, _, tuned, start = (each["ndcg_at_10"] for each in result["columns"])
        expected = (result["first_stage"], shipped, half, tuned, start)
        assert [float(cell) for cell in cells.split(" | ")] == [round(each, 1) for each in expected]


def test_readme_first_stages_are_those_of_the_committed_results() -> None:
    section = README.split("\n| nDCG@10 x 100 | BM25 |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\w+) \| ([\d.]+(?: \| [\d.]+){5}) \|$", section, re.MULTILINE)
    collections = _results("benchmarks/results/zen-mini-first-stages-int8.json")["collections"]
    assert len(collections) == 2 * (len(rows) - 1) == 14
    measured = {(each["collection"], each["candidates"]): each for each in collections}

    def figures(name: str) -> list[float]:
        found = []
        for first_stage, weight in (("bm25", "0.2"), ("hybrid", "0.6")):
            result = measured[name, first_stage]
            columns = {column["name"]: column["ndcg_at_10"] for column in result["columns"]}
            weighed = columns[f"zen-mini int8, {weight} first stage"]
            found += [result["retrieval"]["ndcg_at_10"], columns["zen-mini int8"], weighed]
        return found

    expected = {name: figures(name) for name, _ in rows[:-1]}
    bm25, alone, weighed, hybrid, hybrid_alone, hybrid_weighed = means = [
        fmean(column) for column in zip(*expected.values(), strict=True)
    ]
    for name, cells in rows:
        assert cells.split(" | ") == [f"{figure:.1f}" for figure in expected.get(name, means)]
    for name, each in expected.items():
        unweighed = (each[0], each[1], each[3], each[4])
        assert max(unweighed) == each[4 if name == "squad" else 3]  # hybrid alone but on squad
    assert rows[-1][0] == "mean"
    assert hybrid_weighed > hybrid > weighed > alone > bm25
    gain = hybrid_weighed - weighed
    assert f"hybrid, then zen-mini is {gain:.1f} points better than BM25, then zen-mini" in README
    assert f"; unweighed it is {alone - hybrid_alone:.1f} behind" in README
    elsewhere = [each[5] - each[3] for name, each in expected.items() if name != "squad"]
    assert sum(elsewhere) < 0  # what reranking adds to hybrid retrieval is gained on squad
    choice = _results("benchmarks/results/zen-mini-hybrid-weight-choice-int8.json")
    assert all(each["candidates"] == "hybrid" for each in choice["collections"])
    assert _best_of_training_splits(choice) == "zen-mini int8, 0.6 first stage"


def _best_of_training_splits(choice: dict[str, Any]) -> str:
    """The column of the best mean on the training splits that zen-mini was not trained on."""
    assert all(each["split"] == "train" for each in choice["collections"])
    unseen = ("clariq", "checkthat2020", "climatefever-sents")
    judged = [each for each in choice["collections"] if each["collection"] in unseen]
    assert len(judged) == len(unseen)
    names = [column["name"] for column in judged[0]["columns"]]
    means = [
        sum(each["columns"][place]["ndcg_at_10"] for each in judged) for place in range(len(names))
    ]
    return str(names[max(range(len(means)), key=means.__getitem__)])


def test_readme_first_stage_weight_figures_are_those_of_the_committed_results() -> None:
    path = "benchmarks/results/zen-mini-first-stage-weight-int8.json"
    section = README.split("\n| BM25's best 100,")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\w+)(?:, dev)? \| (\d+) \| (.*) \|$", section, re.MULTILINE)
    measured = {each["collection"]: each for each in _results(path)["collections"]}
    assert len(rows) == len(measured) == 8
    gains = {}
    for name, num_queries, cells in rows:
        result = measured[name]
        assert int(num_queries) == result["num_queries"]
        alone, both = result["columns"]
        assert both["name"] == "zen-mini int8, 0.2 first stage"
        figures = (result["first_stage"], alone["ndcg_at_10"], both["ndcg_at_10"])
        assert cells.split(" | ") == [f"{figure:.1f}" for figure in figures]
        gains[name] = both["ndcg_at_10"] - alone["ndcg_at_10"]
    assert min(gains.values()) > 0  # better everywhere, the text says
    card = (ROOT / "zen_fast/models/zen-mini/README.md").read_text(encoding="utf-8")
    paragraph = " ".join(card.split("**Beside BM25.**")[1].split("**Of the loss.**")[0].split())
    for name, result in measured.items():
        assert f"{name} {result['columns'][1]['ndcg_at_10']:.1f}" in paragraph
    choice = _results("benchmarks/results/zen-mini-first-stage-weight-choice-int8.json")
    assert _best_of_training_splits(choice) == "zen-mini int8, 0.2 first stage"


def test_readme_loss_ablation_is_that_of_the_committed_results() -> None:
    report = _results("benchmarks/results/zen-mini-loss-ablation.json")
    assert len(report["collections"]) == 8
    assert "no difference that eight collections could show" in README
    compared = report["listwise_over_pointwise"]["all eight"]
    low, high = compared["low"], compared["high"]
    assert low < 0 < high
    figures = (
        f"listwise {compared['difference']:+.1f} points of nDCG@10 on their mean, "
        f"95 % interval {low:+.1f} to {high:+.1f}, after "
        f"{report['training']['listwise']['recipe']['num_steps']} steps each"
    )
    assert figures in README.replace("\n", " ")


def test_readme_installs_only_extras_that_exist() -> None:
    declared = set(
        re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    )
    for extras in re.findall(r"zen-fast\[([\w,]+)\]", README):
        assert set(extras.split(",")) <= declared


def _first_screen() -> str:
    return README.split("\n## Install\n")[0]


def _results(path: str) -> Any:
    return json.loads((ROOT / path).read_text())


def _milliseconds(median: float | None) -> str:
    if median is None:
        return "–"
    return f"{median:,.0f}" if median >= 100 else f"{median:.1f}"
