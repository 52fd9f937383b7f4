"""The GPU gate without a GPU: its phases rehearsed, and what becomes of those that fail."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from triton_device import torch  # before Triton, which the gate imports

for _needed in ("transformers", "sentence_transformers"):
    pytest.importorskip(_needed)

ROOT = Path(__file__).parent.parent
WORKS = "import sys; print('works')"
FAILS = "raise ValueError('no such kernel')"
HANGS = "import time; time.sleep(600)"


@pytest.fixture(scope="module", autouse=True)
def repository_root_on_path() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laid-out package with the installed extension in the place of one just built."""
    from benchmarks.gpu_gate.package import lay_out_package

    folder = tmp_path_factory.mktemp("work") / "site"
    lay_out_package(folder)
    extension = importlib.util.find_spec("zen_fast._C")
    if extension is None or extension.origin is None:
        pytest.skip("the extension is not built")
    (folder / "zen_fast" / Path(extension.origin).name).symlink_to(extension.origin)
    return folder


def test_package_laid_out_holds_the_checkout_and_its_kernels(site: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import zen_fast.kernels, zen_fast._C; print(zen_fast.__file__)"],
        env=os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).parent == site / "zen_fast"


@pytest.fixture(scope="module")
def rehearsal(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What `--dry-run` prints and reports."""
    out = tmp_path_factory.mktemp("out")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.gpu_gate", "--dry-run", "--skip", "build"),
            *("--out", str(out), "--work", str(site.parent), "--seconds", "900"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (out / "gpu_gate.png").is_file()
    assert "=== models-tiny" in (out / "gpu_gate.log").read_text()
    return done.stdout, json.loads((out / "gpu_gate.json").read_text())


def test_rehearsal_passes_every_phase(rehearsal: tuple[str, dict[str, Any]]) -> None:
    _, report = rehearsal
    assert {phase["status"] for phase in report["phases"]} == {"passed"}
    assert [phase["phase"] for phase in report["phases"]][-2:] == ["models-tiny", "plot"]


def test_rehearsal_measures_every_op(rehearsal: tuple[str, dict[str, Any]]) -> None:
    _, report = rehearsal
    assert len(report["linear"]) == 4
    assert all(each["ours_us"] > 0 and each["vendor_us"] > 0 for each in report["linear"])
    assert {each["shape"]["precision"] for each in report["eight_bits"]} == {"int8", "fp8"}
    assert report["attention"][0]["torch_padded_us"] > 0
    assert {each["op"] for each in report["rowwise"]} == {"layer_norm", "quantize_rows", "embed"}
    assert len(report["ceiling"]) >= 5
    assert report["cpu_bench"][0]["report"]["rows"][1]["engine"] == "zen-fp32"


def test_rehearsal_holds_every_model_to_the_reference(
    rehearsal: tuple[str, dict[str, Any]],
) -> None:
    output, report = rehearsal
    rows = {(row["engine"], row["precision"]): row for row in report["model"]}
    stock = ["transformers", "transformers from strings", "sentence-transformers from strings"]
    ours = [("zen", precision) for precision in ("fp16", "int8")]
    assert {*ours, *((name, "fp16") for name in stock)} <= set(rows)
    for row in rows.values():
        assert row["refused"] is None
        assert row["logit_spread"] > 0
        assert row["expected_ms"] > 0
    assert set(rows["zen", "fp16"]["times"]) == {"model", "end_to_end", "cached"}
    assert "REHEARSAL" in output
    assert output.index("machine: passed") < output.index("sentence-transformers-from-strings")


def test_gate_without_a_gpu_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu_gate.__main__ import main

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["--out", str(tmp_path / "out")]) == 2
    assert "--dry-run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_gate_names_its_phases_where_one_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu_gate.__main__ import main

    assert main(["--out", str(tmp_path), "--dry-run", "--skip", "bild"]) == 2
    message = capsys.readouterr().err
    assert "bild" in message
    assert "build, inputs" in message


def test_phases_of_the_gate_fit_into_their_time() -> None:
    from benchmarks.gpu_gate.__main__ import PLOT
    from benchmarks.gpu_gate.context import FULL
    from benchmarks.gpu_gate.phases import TOTAL_SECONDS, plan

    stages = plan(FULL, rehearsal=False)
    longest = [max(phase.budget_seconds for phase in stage) for stage in stages]
    assert sum(longest) + PLOT.budget_seconds <= TOTAL_SECONDS


def test_runner_keeps_what_others_did_where_a_phase_fails_or_hangs(tmp_path: Path) -> None:
    from benchmarks.gpu_gate.phases import Phase, Runner

    (tmp_path / "logs").mkdir()
    runner = Runner(tmp_path / "site", tmp_path, rehearsal=True, total_seconds=30)
    phases = [
        Phase(name, ("-c", program), budget, is_child=False)
        for name, program, budget in (("a", FAILS, 20), ("b", HANGS, 1), ("c", WORKS, 20))
    ]
    endings = {ending.phase: ending for ending in runner.run(phases)}
    assert {name: each.status for name, each in endings.items()} == {
        "a": "failed",
        "b": "timed out",
        "c": "passed",
    }
    assert "no such kernel" in runner.log("a")
    assert runner.log("c") == "works\n"


def test_runner_starts_nothing_when_the_time_is_over(tmp_path: Path) -> None:
    from benchmarks.gpu_gate.phases import Phase, Runner

    runner = Runner(tmp_path / "site", tmp_path, rehearsal=True, total_seconds=1)
    (ending,) = runner.run([Phase("a", ("-c", WORKS), 10, is_child=False)])
    assert ending.status == "not reached"


def test_gate_exits_with_1_where_a_phase_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.gpu_gate import __main__ as gate
    from benchmarks.gpu_gate.phases import Phase

    stages = [
        [Phase("a", ("-c", FAILS), 20, is_child=False)],
        [Phase("b", ("-c", WORKS), 20, is_child=False)],
    ]
    monkeypatch.setattr(gate, "plan", lambda scale, rehearsal: stages)
    arguments = ["--dry-run", "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")]
    assert gate.main(arguments) == gate.PHASE_FAILED
    report = json.loads((tmp_path / "out" / "gpu_gate.json").read_text())
    statuses = {phase["phase"]: phase["status"] for phase in report["phases"]}
    assert statuses == {"a": "failed", "b": "passed", "plot": "failed"}
    assert "FAILED a: ValueError: no such kernel" in capsys.readouterr().out


def test_records_of_a_killed_phase_are_kept_up_to_its_last_whole_line(tmp_path: Path) -> None:
    from benchmarks.gpu_gate.context import REHEARSAL, Context, read_records

    context = Context(tmp_path, REHEARSAL, 0.0, tmp_path / "models.jsonl")
    context.record("model", shape="base")
    with context.records.open("a") as file:
        file.write('{"kind": "mod')
    assert read_records(tmp_path) == [{"kind": "model", "shape": "base"}]


def test_report_writes_a_table_of_products_that_the_backend_reads(tmp_path: Path) -> None:
    from benchmarks.gpu_gate.report import write_report
    from zen_fast.backends.linear_choices import LinearShape, read_linear_choices

    shape = {"precision": "fp16", "in_width": 384, "out_width": 1536}
    shape |= {"activation": True, "residual": False}
    linear = {"shape": shape, "rows": 8600, "ours_us": 20.0, "vendor_us": 15.0, "flops": 1.0}
    report = {"machine": [{"gpus": [{"name": "NVIDIA H200"}]}], "linear": [linear]}
    write_report(report, tmp_path)
    choices = read_linear_choices("NVIDIA H200", tmp_path / "linear_choices.json")
    assert choices.prefers_vendor(LinearShape(**shape), 9000)


def test_gate_needs_no_package_for_bm25_or_quality() -> None:
    absent = "import sys; sys.modules |= dict.fromkeys(('bm25s', 'Stemmer', 'ir_measures'))\n"
    modules = ("__main__", "cpu", "inputs", "machine", "models", "operators", "plot")
    imports = "".join(f"import benchmarks.gpu_gate.{module}\n" for module in modules)
    subprocess.run([sys.executable, "-c", absent + imports], cwd=ROOT, check=True)
