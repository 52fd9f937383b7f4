"""`zen-fast bench` from the command line to its files."""

from __future__ import annotations

import importlib.util
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tiny_rerankers import MAX_LENGTH, save_reranker
from tiny_tokenizers import SENTENCES, rewrite_settings

from zen_fast.bench.__main__ import main
from zen_fast.bench.engines import EngineOptions
from zen_fast.bench.engines.transformers import TransformersEngine
from zen_fast.bench.engines.zen import ZenEngine
from zen_fast.bench.models import open_model
from zen_fast.bench.options import parse_options
from zen_fast.bench.table import ReportConsole
from zen_fast.bench.worker_process import EngineFailedError

WRONG_ENGINE = """
class Wrong:
    def __init__(self, options):
        pass

    def logits(self, query, documents):
        return [float(len(document)) for document in documents]

    def tune(self, query, documents):
        pass

    def settings(self):
        return {}
"""
COARSE_ENGINES = """
from zen_fast.bench.engines.transformers import TransformersEngine


class Coarse(TransformersEngine):
    precision = "int8"
    factor = 1.04

    def logits(self, query, documents):
        logits = super().logits(query, documents)
        mean = sum(logits) / len(logits)
        return [mean + self.factor * (logit - mean) for logit in logits]


class TooCoarse(Coarse):
    factor = 2.0
"""
QUICK = ("--model", "tiny", "--quick", "--threads", "1")
NUM_QUERIES, NUM_CANDIDATES = 3, 5


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty documents, each with a query of two of its words."""
    folder = tmp_path_factory.mktemp("collection")
    (folder / "qrels").mkdir()
    corpus, queries, qrels = [], [], []
    for index in range(30):
        text = f"part {index} of the machine turns wheel {index % 7} " + "slowly " * (index % 11)
        corpus.append(json.dumps({"_id": f"d{index}", "title": "", "text": text}))
        queries.append(json.dumps({"_id": f"q{index}", "text": f"wheel {index % 7}"}))
        qrels.append(f"q{index}\td{index}\t1")
    (folder / "corpus.jsonl").write_text("\n".join(corpus))
    (folder / "queries.jsonl").write_text("\n".join(queries))
    (folder / "qrels" / "test.tsv").write_text("\n".join(qrels))
    return folder


def _report(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def test_bench_reports_every_engine_and_refuses_a_wrong_one(
    collection: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "wrong_engine.py").write_text(WRONG_ENGINE)
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), inherited)))
    json_path, plot_path = tmp_path / "report.json", tmp_path / "report.png"
    arguments = [
        *QUICK,
        *("--data", str(collection), "--candidates", str(NUM_CANDIDATES)),
        *("--queries", str(NUM_QUERIES), "--engines", "zen,wrong_engine:Wrong"),
        *("--precision", "fp32"),
        *("--json", str(json_path), "--plot", str(plot_path)),
    ]
    status = main(arguments)

    report = _report(json_path)
    assert status == 1
    assert "REFUSED Wrong: max |Δlogit|" in capsys.readouterr().out
    assert plot_path.read_bytes().startswith(b"\x89PNG")

    assert report["command"] == ["python", "-m", "zen_fast.bench", *arguments]
    assert report["threads"] == 1
    assert report["workload"] == "ranking"
    assert report["collection"] == collection.name
    assert report["model"]["random_weights"] is True
    assert report["model"]["num_layers"] == 2
    assert {"cpu", "logical_cores", "python"} <= set(report["machine"])
    assert "torch" in report["versions"]
    assert report["date"].endswith("+00:00")
    assert "git_commit" in report
    assert report["inputs"]["num_queries"] == NUM_QUERIES
    assert report["inputs"]["num_documents"] == NUM_QUERIES * NUM_CANDIDATES
    assert 0 <= report["inputs"]["first_stage_ndcg_at_10"] <= 1
    assert all(gflops > 0 for gflops in report["ceilings"]["gflops"].values())

    reference, zen, wrong = report["rows"]
    assert [row["engine"] for row in report["rows"]] == ["transformers", "zen-fp32", "Wrong"]
    for row in (reference, zen):
        assert row["refused"] is None
        assert len(row["latencies_ms"]) == NUM_QUERIES
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert 0 < row["load_seconds"] < row["cold_start_seconds"]
        assert row["peak_rss_bytes"] > 1e6
        assert row["useful_gflops"] > 0
        assert row["share_of_ceiling"] > 0
        assert row["useful_tokens_per_second"] > row["documents_per_second"] > 0
        assert 0 <= row["ndcg_at_10"] <= 1
    assert reference["speedup_over"]["transformers"] == 1
    assert set(zen["speedup_over"]) == {"transformers", "zen-fp32"}
    assert reference["max_abs_logit_difference"] == 0
    assert zen["kendall_tau"] == pytest.approx(1, abs=0.05)
    assert zen["top_10_overlap"] == 1
    assert zen["ndcg_at_10"] == pytest.approx(reference["ndcg_at_10"], abs=0.01)
    assert "exceeds" in wrong["refused"]
    assert "latencies_ms" not in wrong
    assert "p50_ms" not in wrong


def test_bench_gates_an_adapter_at_the_precision_it_names(
    collection: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "coarse_engines.py").write_text(COARSE_ENGINES)
    inherited = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), inherited)))
    json_path = tmp_path / "report.json"
    engines = "coarse_engines:Coarse,coarse_engines:TooCoarse"
    data = ("--data", str(collection), "--queries", "3", "--candidates", "5")
    status = main([*QUICK, *data, "--engines", engines, "--json", str(json_path)])

    assert status == 1
    assert "REFUSED TooCoarse: max |Δlogit|" in capsys.readouterr().out
    reference, coarse, too_coarse = _report(json_path)["rows"]
    assert [row["precision"] for row in (reference, coarse, too_coarse)] == ["fp32", "int8", "int8"]
    assert coarse["refused"] is None
    assert coarse["max_abs_logit_difference"] > 0
    assert "0.2 of the logits' spread" in too_coarse["refused"]


def test_bench_succeeds_on_single_pairs_without_judgements(
    collection: Path, tmp_path: Path
) -> None:
    json_path = tmp_path / "report.json"
    data = ("--data", str(collection), "--workload", "pair", "--queries", "25")
    assert main([*QUICK, *data, "--engines", "zen", "--json", str(json_path)]) == 0
    report = _report(json_path)
    assert report["inputs"]["num_documents"] == 25
    assert report["inputs"]["first_stage_ndcg_at_10"] is None
    assert [row["engine"] for row in report["rows"]] == ["transformers", "zen-fp32", "zen-int8"]
    assert [len(row["latencies_ms"]) for row in report["rows"]] == [25, 25, 25]


def test_bench_profile_tells_where_each_precision_spends_its_time(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_path = tmp_path / "report.json"
    data = ("--data", str(collection), "--queries", "2", "--candidates", "20")
    precisions = ("--engines", "zen", "--precision", "fp32,int8", "--profile")
    assert main([*QUICK, *data, *precisions, "--json", str(json_path)]) == 0
    printed = capsys.readouterr().out
    assert "zen-fp32: share of time" in printed
    assert "zen-int8: share of time" in printed
    stock, fp32, int8 = (row["seconds_by_op"] for row in _report(json_path)["rows"])
    assert stock == {}
    for seconds in (fp32, int8):
        assert seconds["tokenize"] > 0
        assert min(seconds.values()) >= 0
    assert any(op.startswith("linear tokens") for op in fp32)
    assert any(op.startswith("quantized_linear tokens") for op in int8)
    assert any(op.startswith("quantize tokens") for op in int8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--engines", "faster"), "unknown engine 'faster'"),
        (("--precision", "fp31"), "unknown precision 'fp31'; accepted: fp32"),
        (("--data", "no-such-folder"), "no judgements at no-such-folder"),
        (("--json", "no-such-folder/report.json"), "there is no folder no-such-folder"),
        (("--device", "gpu"), "device='gpu': accepted are 'cpu', 'cuda', 'cuda:N'"),
        (("--device", "auto"), "device='auto': accepted are 'cpu', 'cuda', 'cuda:N'"),
        (("--device", "cuda:99"), "device='cuda:99'"),
        (("--precision", "fp16"), "precision='fp16' needs a GPU"),
    ],
)
def test_bench_names_a_wrong_argument(
    arguments: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "cuda:99" in arguments:
        pytest.importorskip("triton")
    assert main([*QUICK, *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "precisions"),
    [
        ((), ("fp32", "int8")),
        (("--device", "cuda"), ("fp32",)),
        (("--precision", "int8"), ("int8",)),
    ],
)
def test_bench_precisions_are_those_of_the_device_unless_named(
    arguments: tuple[str, ...], precisions: tuple[str, ...]
) -> None:
    assert parse_options(arguments).precisions == precisions


def test_bench_names_the_extra_where_a_dependency_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "ir_measures" else find_spec(name, *rest),
    )
    assert main([]) == 2
    assert "ir_measures: pip install 'zen-fast[bench]'" in capsys.readouterr().err


def test_bench_engine_that_fails_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise EngineFailedError("the process of zen died; its last words:\nout of memory")

    monkeypatch.setattr("zen_fast.bench.run.run", fail)
    assert main([]) == 1
    assert capsys.readouterr().err.endswith("last words:\nout of memory\n")


class _ClosedPipe(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_report_console_leaves_a_broken_pipe_to_the_caller() -> None:
    with pytest.raises(BrokenPipeError):
        ReportConsole(file=_ClosedPipe()).print("figures")


def test_open_model_ends_pairs_where_sentence_transformers_does(tmp_path: Path) -> None:
    folder = save_reranker(tmp_path)
    assert open_model(folder, "tiny").pair_tokenizer.max_length == MAX_LENGTH
    (folder / "modules.json").write_text('[{"path": "", "type": "a.Transformer"}]')
    settings = folder / "config_sentence_transformers.json"
    settings.write_text('{"model_type": "CrossEncoder"}')
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 12}')
    model = open_model(folder, "tiny")
    assert model.pair_tokenizer.max_length == 12
    assert model.pair_lengths(SENTENCES[0], [" ".join(SENTENCES)]) == [12]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_transformers_engine_truncates_as_zen_does(kind: str, tmp_path: Path) -> None:
    folder = save_reranker(tmp_path, kind)
    rewrite_settings(folder, model_max_length=10**30)
    max_length = open_model(folder, kind).pair_tokenizer.max_length
    assert max_length == MAX_LENGTH
    options = EngineOptions(str(folder), 1, "cpu", "fp32", max_length)
    documents = [" ".join(SENTENCES * 4), SENTENCES[1]]
    expected = TransformersEngine(options).logits(SENTENCES[0], documents)
    assert ZenEngine(options).logits(SENTENCES[0], documents) == pytest.approx(expected, abs=1e-4)
