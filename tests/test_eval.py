"""Reranking quality on toy collections, from the functions to the command."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from zen_fast.candidates import answerable_queries, bm25_requests, judged_requests
from zen_fast.collection import Collection, CollectionDocument
from zen_fast.command_line import USER_MISTAKE
from zen_fast.eval.__main__ import main
from zen_fast.eval.quality import CollectionQuality, Score, compare_rerankers


@pytest.fixture
def collection() -> Collection:
    documents = {
        f"d{index}": CollectionDocument("", f"lake lake {'deep ' * index}") for index in range(4)
    }
    documents["far"] = CollectionDocument("", "nothing shared")
    judgements = {"q": {"d3": 1, "d0": 0, "far": 0}, "none": {"d1": 0}}
    return Collection("toy", documents, {"q": "lake", "none": "lake"}, judgements)


def _by_length(_: str, texts: Sequence[str]) -> np.ndarray:
    return np.array([len(text) for text in texts], np.float32)


def _compare(collection: Collection, **scorers: Score) -> CollectionQuality:
    requests = bm25_requests(collection, answerable_queries(collection), 100)
    return compare_rerankers(
        requests,
        collection.judgements,
        scorers,
        collection="toy",
        split="test",
        candidates="bm25",
    )


def test_answerable_queries_leaves_out_those_without_relevant_document(
    collection: Collection,
) -> None:
    assert answerable_queries(collection) == ["q"]


def test_bm25_requests_hold_the_best_documents_that_share_a_word(collection: Collection) -> None:
    (request,) = bm25_requests(collection, ["q"], 100)
    assert set(request.document_ids) == {"d0", "d1", "d2", "d3"}
    (request,) = bm25_requests(collection, ["q"], 2)
    assert request.document_ids == ("d0", "d1")


def test_judged_requests_hold_the_pool_best_first(collection: Collection) -> None:
    (request,) = judged_requests(collection, ["q"])
    assert request.document_ids == ("d0", "d3", "far")
    assert request.documents[2] == "nothing shared"


def test_compare_rerankers_perfect_scores_reach_100(collection: Collection) -> None:
    result = _compare(collection, perfect=_by_length)
    assert result.columns[0].ndcg_at_10 == pytest.approx(100.0)
    assert 0.0 < result.first_stage < 100.0
    assert (result.num_queries, result.num_pairs) == (1, 4)


def test_compare_rerankers_tells_columns_from_the_first(collection: Collection) -> None:
    result = _compare(
        collection,
        perfect=_by_length,
        same=_by_length,
        reversed=lambda query, texts: 0.5 - _by_length(query, texts),
    )
    same, opposite = result.columns[1:]
    assert (same.relative_change, same.max_abs_logit_difference, same.kendall_tau) == (0, 0, 1)
    assert opposite.relative_change < 0
    assert opposite.max_abs_logit_difference == pytest.approx(
        2 * len("lake lake deep deep deep") - 0.5
    )
    assert opposite.kendall_tau == -1


def _write_collection(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {"_id": "a", "title": "", "text": "Plants use light to turn carbon dioxide into sugar."},
        {"_id": "b", "title": "", "text": "Plants are sold at the market on Sunday."},
    ]
    queries = [{"_id": "q", "text": "How do plants make sugar?"}]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\nq\tb\t0\n")
    return folder


def test_eval_command_compares_precisions_of_the_embedded_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = _write_collection(tmp_path / "toy"), tmp_path / "quality.json"
    assert (
        main(["--precision", "fp32,int8", "--json", str(out), f"{folder}:test", str(folder)]) == 0
    )
    report = json.loads(out.read_text())
    assert [each["collection"] for each in report["collections"]] == ["toy", "toy"]
    for result in report["collections"]:
        fp32, int8 = result["columns"]
        assert [fp32["name"], int8["name"]] == ["zen-mini fp32", "zen-mini int8"]
        assert fp32["ndcg_at_10"] == int8["ndcg_at_10"] == 100.0
        assert 0 < int8["max_abs_logit_difference"] < 0.5
    assert set(report["change_of_mean_percent"].values()) == {0.0}
    printed = capsys.readouterr().out
    assert "zen-mini int8 against zen-mini fp32" in printed


def test_eval_command_reranks_judged_pools(tmp_path: Path) -> None:
    folder, out = _write_collection(tmp_path / "toy"), tmp_path / "quality.json"
    assert main(["--judged", "--queries", "1", "--json", str(out), str(folder)]) == 0
    assert json.loads(out.read_text())["collections"][0]["candidates"] == "judged"


def test_eval_command_with_nothing_relevant_found_changes_by_nothing(tmp_path: Path) -> None:
    folder, out = _write_collection(tmp_path / "toy"), tmp_path / "quality.json"
    (tmp_path / "wrong.trec").write_text("q Q0 b 1 0.5 tag\n")
    options = ["--first-stage", str(tmp_path / "wrong.trec"), "--precision", "fp32,int8"]
    assert main([*options, "--json", str(out), str(folder)]) == 0
    report = json.loads(out.read_text())
    assert [each["ndcg_at_10"] for each in report["collections"][0]["columns"]] == [0.0, 0.0]
    assert set(report["change_of_mean_percent"].values()) == {0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["absent/"], "absent"),
        (["--model", "zen-mini,zen-mini"], "--model has zen-mini twice"),
        (["--precision", "int8,int8"], "--precision has int8 twice"),
        (["--first-stage-weight", "0.2,0.20"], "--first-stage-weight has 0.2 twice"),
        (["--model", "absent/model"], "absent/model"),
        (["--json", "absent/report.json"], "there is no folder absent"),
    ],
    ids=["collection", "models", "precisions", "weights", "model", "report"],
)
def test_eval_command_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    folder = _write_collection(tmp_path / "toy")
    collections = [] if change == ["absent/"] else [str(folder)]
    assert main([*collections, *change]) == USER_MISTAKE
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
