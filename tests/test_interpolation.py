"""Ranking by the reranker's and the first stage's scores together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from zen_fast import InvalidArgumentError, InvalidTypeError, ZenReranker
from zen_fast.interpolation import FirstStage

QUERY = "What causes climate change?"
CANDIDATES = [
    {"id": "sun", "text": "The weather is sunny today.", "score": 9.0},
    {"id": "gases", "text": "Greenhouse gases trap heat in the atmosphere.", "score": 2.0},
    {"id": "coal", "text": "Burning coal releases CO2, which warms the planet.", "score": 4.0},
    {"id": "cat", "text": "The cat sleeps on the sofa.", "score": 1.0},
]


@pytest.fixture(scope="module")
def reranker() -> ZenReranker:
    return ZenReranker.from_pretrained()


def _order(weight: float, reranker: ZenReranker) -> list[str]:
    ranking = reranker.rerank(QUERY, CANDIDATES, k=None, first_stage_weight=weight)
    return [each.document["id"] for each in ranking]


def test_weights_of_0_and_1_are_the_order_of_one_of_the_two(reranker: ZenReranker) -> None:
    alone = [each.document["id"] for each in reranker.rerank(QUERY, CANDIDATES, k=None)]
    assert _order(0.0, reranker) == alone
    assert alone[0] != "sun"
    assert _order(1.0, reranker) == ["sun", "coal", "gases", "cat"]


def test_order_is_that_of_the_weighted_sum_of_standardized_scores(reranker: ZenReranker) -> None:
    logits = ZenReranker.from_pretrained(activation="identity").score(QUERY, CANDIDATES)
    first = np.array([each["score"] for each in CANDIDATES])
    for weight in (0.2, 0.5, 0.7):
        keys = (1 - weight) * (logits - logits.mean()) / logits.std()
        keys = keys + weight * (first - first.mean()) / first.std()
        expected = [CANDIDATES[index]["id"] for index in np.argsort(-keys)]
        assert _order(weight, reranker) == expected


def test_returned_scores_and_indices_stay_the_models(reranker: ZenReranker) -> None:
    scores = reranker.score(QUERY, CANDIDATES)
    ranking = reranker.rerank(QUERY, CANDIDATES, k=2, first_stage_weight=0.5)
    assert len(ranking) == 2
    for each in ranking:
        assert each.score == scores[each.index]
        assert each.document is CANDIDATES[each.index]


def test_scale_and_shift_of_the_first_stage_do_not_matter(reranker: ZenReranker) -> None:
    moved = [each | {"score": 1000.0 * float(each["score"]) - 7.0} for each in CANDIDATES]
    ranking = reranker.rerank(QUERY, moved, k=None, first_stage_weight=0.4)
    assert [each.document["id"] for each in ranking] == _order(0.4, reranker)


def test_batch_is_as_each_query_alone(reranker: ZenReranker) -> None:
    lists = [CANDIDATES, CANDIDATES[1:], []]
    queries = [QUERY, "Where does the cat sleep?", "nothing"]
    batch = reranker.batch_rerank(queries, lists, k=None, first_stage_weight=0.4)
    for query, candidates, ranking in zip(queries, lists, batch, strict=True):
        alone = reranker.rerank(query, candidates, k=None, first_stage_weight=0.4)
        assert [each.index for each in ranking] == [each.index for each in alone]


def test_equal_first_stage_scores_leave_the_order_to_the_reranker(reranker: ZenReranker) -> None:
    equal = [each | {"score": 3.0} for each in CANDIDATES]
    ranking = reranker.rerank(QUERY, equal, k=None, first_stage_weight=0.9)
    assert [each.document["id"] for each in ranking] == _order(0.0, reranker)


def test_a_nan_stays_one_and_takes_no_other_along() -> None:
    mixed = FirstStage(np.array([1.0, 2.0, 3.0]), 0.5).mixed_with(np.array([2.0, math.nan, 1.0]))
    assert math.isnan(mixed[1])
    assert np.isfinite(mixed[[0, 2]]).all()


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_a_weight_that_is_no_share_is_an_error(reranker: ZenReranker, weight: float) -> None:
    with pytest.raises(InvalidArgumentError, match=r"first_stage_weight=.*from 0 to 1"):
        reranker.rerank(QUERY, CANDIDATES, first_stage_weight=weight)


@pytest.mark.parametrize(
    ("candidates", "named"),
    [
        (["a text alone"], r"candidates\[0\] has no number under 'score'"),
        ([CANDIDATES[0], {"text": "none"}], r"candidates\[1\] has no number under 'score'"),
        ([{"text": "a", "score": "high"}], r"candidates\[0\] has no number under 'score'"),
    ],
)
def test_candidates_without_a_score_are_an_error(
    reranker: ZenReranker, candidates: list[object], named: str
) -> None:
    with pytest.raises(InvalidTypeError, match=named):
        reranker.rerank(QUERY, candidates, first_stage_weight=0.3)
    reranker.rerank(QUERY, candidates)  # which needs none


def test_a_score_that_is_not_finite_is_an_error(reranker: ZenReranker) -> None:
    for score in (10**400, -(10**400)):
        with pytest.raises(InvalidArgumentError, match=r"\['score'\] is -?inf: it must be finite"):
            FirstStage.of([CANDIDATES[0] | {"score": score}], 0.5)
    broken = [CANDIDATES[0] | {"score": math.nan}]
    with pytest.raises(InvalidArgumentError, match=r"candidate_lists\[0\]\[0\]\['score'\] is nan"):
        reranker.batch_rerank([QUERY], [broken], first_stage_weight=0.3)


@pytest.mark.parametrize("other", [{"early_stop": 0.9}, {"deadline_ms": 100.0}])
def test_scores_cannot_be_missing_beside_a_weight(
    reranker: ZenReranker, other: dict[str, float]
) -> None:
    with pytest.raises(InvalidArgumentError, match="needs every candidate's score"):
        reranker.rerank(QUERY, CANDIDATES, first_stage_weight=0.3, **other)


def test_pipeline_ranks_by_both(reranker: ZenReranker) -> None:
    retrieval = pytest.importorskip("zen_fast.retrieval")
    corpus = [{"id": each["id"], "text": each["text"]} for each in CANDIDATES]
    retriever = retrieval.ZenRetriever.from_corpus(corpus)
    query = "Which gases trap heat and warm the planet?"
    found = retriever.retrieve(query, 100)
    pipeline = retrieval.TwoStagePipeline(retriever, reranker, first_stage_weight=1.0)
    by_first = pipeline.search(query).documents
    assert [each.document.id for each in by_first] == [each.id for each in found]
    half = retrieval.TwoStagePipeline(retriever, reranker, first_stage_weight=0.5).search(query)
    expected = reranker.rerank(query, found, first_stage_weight=0.5)
    assert [each.index for each in half.documents] == [each.index for each in expected]
    with pytest.raises(InvalidArgumentError, match="first_stage_weight=2"):
        retrieval.TwoStagePipeline(retriever, reranker, first_stage_weight=2)


def test_eval_has_a_column_for_each_weight(tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    from zen_fast.eval.__main__ import main

    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    documents = [{"_id": each["id"], "text": each["text"]} for each in CANDIDATES]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
    query = {"_id": "q", "text": "Which gases trap heat and warm the planet in the sunny weather?"}
    (folder / "queries.jsonl").write_text(json.dumps(query))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\tgases\t1\n")
    report = tmp_path / "report.json"
    runs = tmp_path / "runs"
    arguments = ["--first-stage-weight", "0.3,1", "--json", str(report), "--write-runs", str(runs)]
    assert main([*arguments, str(folder)]) == 0
    (result,) = json.loads(report.read_text())["collections"]
    names = [column["name"] for column in result["columns"]]
    first, both = "zen-mini auto", "zen-mini auto, 0.3 first stage"
    assert names == [first, both, "zen-mini auto, 1 first stage"]
    assert result["columns"][2]["ndcg_at_10"] == pytest.approx(result["first_stage"])
    assert result["columns"][1]["p50_ms"] == result["columns"][0]["p50_ms"]
    ranked = {
        path.parent.name: [line.split()[2] for line in path.read_text().splitlines()]
        for path in runs.glob("*/tiny.test.trec")
    }
    assert ranked["bm25"] == ranked["bm25+zen-mini-auto-1-first-stage"]


def test_eval_refuses_a_weight_that_is_no_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ir_measures")
    from zen_fast.eval.__main__ import main

    assert main(["--first-stage-weight", "3", str(tmp_path)]) != 0
    assert "first_stage_weight=3" in capsys.readouterr().err


def test_search_weighs_what_the_index_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    retrieval = pytest.importorskip("zen_fast.retrieval")
    from zen_fast.search import main

    corpus = [{"id": each["id"], "text": each["text"]} for each in CANDIDATES]
    retriever = retrieval.ZenRetriever.from_corpus(corpus)
    retriever.save(tmp_path / "index")
    query = "Which gases trap heat and warm the planet in sunny weather?"
    arguments = ["--index", str(tmp_path / "index"), "--json", query, "--first-stage-weight", "1"]
    assert main([*arguments, "--rerank", "zen-mini"]) == 0
    ids = [json.loads(line)["document"]["id"] for line in capsys.readouterr().out.splitlines()]
    assert ids == [each.id for each in retriever.retrieve(query, 100)]
    assert main(arguments) != 0
    assert "--rerank" in capsys.readouterr().err
