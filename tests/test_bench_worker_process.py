"""Workers: one process for each engine, and what happens when it fails."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from zen_fast.bench.engines import EngineOptions, EngineRow, engine_rows, load_engine
from zen_fast.bench.worker_process import EngineFailedError, WorkerProcess
from zen_fast.errors import InvalidArgumentError, MissingDependencyError

ADAPTERS = """
import atexit
import os
import pathlib
import sys


class Counting:
    def __init__(self, options):
        print("libraries print where they like")
        self.threads = options.num_threads

    def logits(self, query, documents):
        return [float(len(document)) for document in documents]

    def tune(self, query, documents):
        pass

    def settings(self):
        return {"threads": self.threads, "omp": os.environ["OMP_NUM_THREADS"]}


class Tidy(Counting):
    precision = "int8"

    def __init__(self, options):
        super().__init__(options)
        atexit.register(pathlib.Path(options.model_folder).write_text, "tidied up")


class Raising(Counting):
    def logits(self, query, documents):
        raise RuntimeError("out of luck")


class Dying(Counting):
    def logits(self, query, documents):
        print("the ground opens", file=sys.stderr, flush=True)
        os._exit(7)


class Forgetful(Counting):
    def logits(self, query, documents):
        return [1.0]
"""

OPTIONS = EngineOptions("unused", num_threads=1, device="cpu", precision="fp32")


@pytest.fixture(autouse=True)
def adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapters.py").write_text(ADAPTERS)
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), inherited)))


def _load(worker: WorkerProcess, adapter: str) -> None:
    worker.load(EngineRow(worker.name, adapter, "fp32"), OPTIONS)


def test_worker_answers_with_logits_seconds_and_description() -> None:
    with WorkerProcess("counting", num_threads=1) as worker:
        _load(worker, "adapters:Counting")
        logits, seconds = worker.logits("query", ["a", "bb", "ccc ü"])
        described = worker.describe()
    assert logits == [1.0, 2.0, 5.0]
    assert 0 < seconds < 1
    assert described["settings"] == {"threads": 1, "omp": "1"}
    assert 1e6 < described["peak_rss_bytes"] < 1e9


def test_worker_names_the_adapters_precision_and_lets_an_idle_one_tidy_up(tmp_path: Path) -> None:
    left = tmp_path / "left"
    with WorkerProcess("tidy", num_threads=1) as worker:
        row = EngineRow(worker.name, "adapters:Tidy", "fp32")
        _, precision = worker.load(row, replace(OPTIONS, model_folder=str(left)))
        assert not left.exists()
    assert precision == "int8"
    assert left.read_text() == "tidied up"


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ("adapters:Raising", "broken failed in `logits`: RuntimeError: out of luck"),
        ("adapters:Dying", r"died in `logits` \(exit status 7\)[\s\S]*the ground opens"),
        ("adapters:Forgetful", "broken gave 1 logits for 2 documents"),
    ],
)
def test_worker_failure_is_an_error_that_names_engine_and_cause(adapter: str, message: str) -> None:
    with WorkerProcess("broken", num_threads=1) as worker:
        _load(worker, adapter)
        with pytest.raises(EngineFailedError, match=message):
            worker.logits("query", ["a", "b"])


@pytest.mark.parametrize("adapter", ["adapters:Absent", "no_such_module:Engine"])
def test_worker_load_names_an_adapter_that_is_not_there(adapter: str) -> None:
    with (
        WorkerProcess("absent", num_threads=1) as worker,
        pytest.raises(EngineFailedError, match="InvalidArgumentError"),
    ):
        _load(worker, adapter)


def test_load_engine_names_the_package_that_an_adapter_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_adapter.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingDependencyError, match="pip install no_such_package"):
        load_engine("needy_adapter:Engine", OPTIONS)


def test_engine_rows_put_the_reference_first_and_give_zen_a_row_per_precision() -> None:
    rows = engine_rows(["zen", "transformers", "adapters:Counting"], ["fp32", "int8"])
    assert [row.name for row in rows] == ["transformers", "zen-fp32", "zen-int8", "Counting"]
    assert [row.precision for row in rows] == ["fp32", "fp32", "int8", "fp32"]


def test_engine_rows_refuse_an_unknown_name() -> None:
    with pytest.raises(InvalidArgumentError, match="unknown engine 'fast'; engines are"):
        engine_rows(["fast"], ["fp32"])
