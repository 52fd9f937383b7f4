from __future__ import annotations

import json
import logging
import math
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tiny_rerankers import MAX_LENGTH, save_reranker
from tiny_tokenizers import ODD_TEXTS, SENTENCES, rewrite_settings
from tolerances import BATCH_PER_SPREAD, PARITY_PER_SPREAD

import zen_fast
from zen_fast import (
    CheckpointError,
    InvalidArgumentError,
    InvalidTypeError,
    MissingDependencyError,
    ModelNotFoundError,
    RankedDocument,
    UnsupportedDeviceError,
    UnsupportedModelError,
    ZenReranker,
)
from zen_fast.encoded import PairScores

QUERY = SENTENCES[0]
DOCUMENTS = [*SENTENCES, *ODD_TEXTS, *(f"{a} {b}" for a in SENTENCES for b in SENTENCES)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reranker(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def reranker(folder: Path) -> ZenReranker:
    return ZenReranker.from_pretrained(folder, activation="identity", num_threads=2)


@pytest.fixture(scope="module")
def three_labels(tmp_path_factory: pytest.TempPathFactory) -> ZenReranker:
    folder = save_reranker(tmp_path_factory.mktemp("labels"), num_labels=3)
    return ZenReranker.from_pretrained(folder)


def assert_same_scores(scores: Any, expected: Any) -> None:
    spread = np.std(expected) if len(expected) > 1 else 1.0
    tolerance = BATCH_PER_SPREAD * max(spread, 1e-3)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=tolerance)


def test_score_is_in_input_order_and_independent_of_the_batch(reranker: ZenReranker) -> None:
    scores = reranker.score(QUERY, DOCUMENTS)
    assert scores.shape == (len(DOCUMENTS),)
    assert scores.dtype == np.float32
    alone = [reranker.score(QUERY, [document])[0] for document in DOCUMENTS]
    assert_same_scores(scores, alone)
    order = np.random.default_rng(0).permutation(len(DOCUMENTS))
    shuffled = reranker.score(QUERY, [DOCUMENTS[index] for index in order])
    assert_same_scores(shuffled, scores[order])


def test_score_over_several_windows_equals_one_window(
    reranker: ZenReranker, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reranker.score(QUERY, DOCUMENTS)
    monkeypatch.setattr("zen_fast.engine.PAIRS_AHEAD", 7)
    monkeypatch.setattr(reranker._engine, "token_budget", 50)
    assert_same_scores(reranker.score(QUERY, DOCUMENTS), expected)


def test_score_cpu_equals_reference(folder: Path, reranker: ZenReranker) -> None:
    reference = ZenReranker.from_pretrained(folder, backend="reference", activation="identity")
    expected = reference.score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(
        reranker.score(QUERY, DOCUMENTS),
        expected,
        rtol=0,
        atol=PARITY_PER_SPREAD * expected.std(),
    )


def test_score_empty_list_is_an_empty_array(
    reranker: ZenReranker, three_labels: ZenReranker
) -> None:
    assert reranker.score(QUERY, []).shape == (0,)
    assert three_labels.score(QUERY, []).shape == (0, 3)
    assert reranker.rerank(QUERY, []) == []
    assert reranker.batch_rerank([], []) == []
    assert reranker.batch_rerank([QUERY, QUERY], [[], ["x"]])[0] == []


def test_score_odd_texts_are_finite(reranker: ZenReranker) -> None:
    odd = ["", " ", "\x00", "\ud800", "😀" * 50, "x" * 100_000, "word " * 20_000, "\ud83d\ude00"]
    scores = reranker.score("", odd)
    assert np.isfinite(scores).all()
    assert np.isfinite(reranker.score("\udcff\x00", odd)).all()
    assert reranker.score(QUERY, ["\ud800"]) == reranker.score(QUERY, ["\ufffd"])


def test_score_takes_mappings_and_ignores_the_title(reranker: ZenReranker) -> None:
    expected = reranker.score(QUERY, DOCUMENTS[:3])
    mappings = [{"title": "not scored", "text": text} for text in DOCUMENTS[:3]]
    np.testing.assert_array_equal(reranker.score(QUERY, mappings), expected)


def test_score_several_labels_gives_a_row_for_each_document(three_labels: ZenReranker) -> None:
    assert three_labels.score(QUERY, DOCUMENTS).shape == (len(DOCUMENTS), 3)
    assert three_labels.num_labels == 3


def test_score_wrong_arguments_raise(reranker: ZenReranker) -> None:
    with pytest.raises(InvalidTypeError, match="query is None"):
        reranker.score(None, ["x"])  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"documents\[3\] is None; pass"):
        reranker.score(QUERY, ["a", "b", "c", None])  # type: ignore[list-item]
    with pytest.raises(InvalidTypeError, match=r"documents is a str .* wrap it in a list"):
        reranker.score(QUERY, "one document")
    with pytest.raises(InvalidTypeError, match="documents is None"):
        reranker.score(QUERY, None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="show_progres"):
        reranker.score(QUERY, [], show_progres=True)  # type: ignore[call-arg]


def test_rerank_sorts_by_score_and_keeps_the_documents(reranker: ZenReranker) -> None:
    candidates = [{"text": text, "id": index} for index, text in enumerate(DOCUMENTS)]
    scores = reranker.score(QUERY, candidates)
    ranked = reranker.rerank(QUERY, candidates, k=7)
    assert [result.index for result in ranked] == np.argsort(-scores, kind="stable")[:7].tolist()
    for result in ranked:
        assert isinstance(result, RankedDocument)
        assert result.document is candidates[result.index]
        assert result.score == pytest.approx(float(scores[result.index]), abs=1e-5)
    assert len(reranker.rerank(QUERY, candidates)) == 10
    assert len(reranker.rerank(QUERY, candidates, k=None)) == len(candidates)
    assert len(reranker.rerank(QUERY, candidates[:2], k=5)) == 2
    assert len(reranker.rerank(QUERY, candidates, k=np.int64(3))) == 3


def test_rerank_sorts_on_logits_where_the_activation_saturates(folder: Path) -> None:
    reranker = ZenReranker.from_pretrained(folder, activation="sigmoid")
    engine_logits = np.array([[40.0], [60.0], [50.0], [-3.0]], dtype=np.float32)
    scores = PairScores(engine_logits, None)
    reranker._engine.scores = lambda *_: scores  # type: ignore[method-assign]
    ranked = reranker.rerank(QUERY, ["a", "b", "c", "d"])
    assert [result.index for result in ranked] == [1, 2, 0, 3]
    assert [result.score for result in ranked[:3]] == [1.0, 1.0, 1.0]
    assert [entry["corpus_id"] for entry in reranker.rank(QUERY, list("abcd"))] == [1, 2, 0, 3]


def test_rerank_sorts_on_scores_where_the_activation_may_reverse_them(folder: Path) -> None:
    straight = ZenReranker.from_pretrained(folder, activation="identity")
    reverse = ZenReranker.from_pretrained(folder, activation=lambda logits: -logits)
    best_last = [result.index for result in straight.rerank(QUERY, SENTENCES, k=None)][::-1]
    assert [result.index for result in reverse.rerank(QUERY, SENTENCES, k=None)] == best_last


def test_rerank_ties_stay_in_input_order(reranker: ZenReranker) -> None:
    ranked = reranker.rerank(QUERY, [SENTENCES[1]] * 20, k=None)
    assert [result.index for result in ranked] == list(range(20))


def test_rerank_ranks_nan_last_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_reranker(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    table = tensors["bert.embeddings.word_embeddings.weight"].copy()
    table[tokenizer["model"]["vocab"]["x"]] = np.nan
    save_file(tensors | {"bert.embeddings.word_embeddings.weight": table}, path, {"format": "pt"})
    reranker = ZenReranker.from_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING):
        ranked = reranker.rerank(QUERY, ["x", SENTENCES[1], "x", SENTENCES[2]])
    assert [result.index for result in ranked[2:]] == [0, 2]
    assert [math.isnan(result.score) for result in ranked] == [False, False, True, True]
    assert "2 of 4 scores are NaN" in caplog.text


def test_rerank_wrong_arguments_raise(reranker: ZenReranker, three_labels: ZenReranker) -> None:
    for k in (0, -1):
        with pytest.raises(InvalidArgumentError, match=f"k={k}: it must be at least 1"):
            reranker.rerank(QUERY, ["x"], k=k)
    with pytest.raises(InvalidTypeError, match="k is a str"):
        reranker.rerank(QUERY, ["x"], k="3")  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match=r"candidates\[0\] is None"):
        reranker.rerank(QUERY, [None])  # type: ignore[list-item]
    with pytest.raises(InvalidArgumentError, match="one label"):
        three_labels.rerank(QUERY, ["x"])


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batch_rerank_equals_rerank(reranker: ZenReranker, batch_size: int) -> None:
    lists = [DOCUMENTS[i * 9 : i * 9 + 5 * i] for i in range(5)]
    batched = reranker.batch_rerank(SENTENCES[:5], lists, batch_size=batch_size, k=4)
    assert len(batched) == 5
    for query, candidates, ranked in zip(SENTENCES, lists, batched, strict=False):
        expected = reranker.rerank(query, candidates, k=4)
        assert [result.index for result in ranked] == [result.index for result in expected]
        assert_same_scores([r.score for r in ranked], [r.score for r in expected])


def test_batch_rerank_wrong_arguments_raise(reranker: ZenReranker) -> None:
    with pytest.raises(InvalidArgumentError, match="2 queries but 1 candidate_lists"):
        reranker.batch_rerank(["a", "b"], [["x"]])
    with pytest.raises(InvalidTypeError, match="queries is a str"):
        reranker.batch_rerank("a", [["x"]])
    with pytest.raises(InvalidTypeError, match=r"candidate_lists\[0\] is a str"):
        reranker.batch_rerank(["a"], ["x"])
    with pytest.raises(InvalidTypeError, match=r"candidate_lists\[1\]\[0\] is None"):
        reranker.batch_rerank(["a", "b"], [["x"], [None]])  # type: ignore[list-item]
    with pytest.raises(InvalidArgumentError, match="batch_size=0"):
        reranker.batch_rerank(["a"], [["x"]], batch_size=0)


def test_score_from_many_threads_equals_one_thread(folder: Path) -> None:
    reranker = ZenReranker.from_pretrained(folder, token_cache_mb=0.01)
    jobs = [(SENTENCES[i % 10], DOCUMENTS[i : i + 15]) for i in range(60)]
    expected = [reranker.score(*job) for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        for scores, alone in zip(
            pool.map(lambda job: reranker.score(*job), jobs), expected, strict=True
        ):
            assert_same_scores(scores, alone)


def test_token_cache_hits_and_leaves_scores_alone(folder: Path) -> None:
    cached = ZenReranker.from_pretrained(folder, token_cache_mb=1)
    uncached = ZenReranker.from_pretrained(folder, token_cache_mb=0)
    for _ in range(2):
        np.testing.assert_array_equal(
            cached.score(QUERY, SENTENCES), uncached.score(QUERY, SENTENCES)
        )
    statistics = cached.token_cache_statistics()
    assert statistics.hits == statistics.misses == len({QUERY, *SENTENCES})
    assert uncached.token_cache_statistics().misses == 0


def test_max_length_truncates_and_the_side_matters(tmp_path: Path) -> None:
    save_reranker(tmp_path)
    long_document = " ".join(SENTENCES)
    full = ZenReranker.from_pretrained(tmp_path)
    short = ZenReranker.from_pretrained(tmp_path, max_length=20)
    assert (full.max_length, short.max_length) == (MAX_LENGTH, 20)
    assert full.score(QUERY, [long_document]) != short.score(QUERY, [long_document])
    rewrite_settings(tmp_path, truncation_side="left")
    left = ZenReranker.from_pretrained(tmp_path, max_length=20)
    assert left.score(QUERY, [long_document]) != short.score(QUERY, [long_document])


def test_only_second_keeps_the_query_or_raises(folder: Path) -> None:
    reranker = ZenReranker.from_pretrained(folder, max_length=30, truncation="only_second")
    assert reranker.score("a query", [" ".join(SENTENCES)]).shape == (1,)
    with pytest.raises(InvalidArgumentError, match="may not cut the query"):
        reranker.score(" ".join(SENTENCES), ["a document"])


def test_from_pretrained_wrong_arguments_raise(folder: Path) -> None:
    for options, error, message in (
        ({"device": "cuda:99"}, UnsupportedDeviceError, "PyTorch finds . GPUs here"),
        ({"device": "cuda:98,99"}, UnsupportedDeviceError, "'cuda:98': PyTorch finds . GPUs here"),
        ({"device": "cuda:0,0"}, InvalidArgumentError, "each GPU may be named once"),
        ({"device": "cpu", "backend": "triton"}, InvalidArgumentError, "use device='cuda'"),
        ({"device": "cuda", "backend": "cpu"}, InvalidArgumentError, "runs on the CPU"),
        ({"device": "cuda", "num_threads": 2}, InvalidArgumentError, "belongs to the cpu backend"),
        ({"precision": "fp16"}, UnsupportedDeviceError, "needs a GPU"),
        ({"device": "tpu"}, UnsupportedDeviceError, "accepted are 'auto', 'cpu'"),
        ({"device": None}, InvalidTypeError, "device is a NoneType; pass one of 'auto', 'cpu'"),
        ({"device": torch.device("cpu")}, InvalidTypeError, "device is a device; pass one of"),
        ({"precision": torch.float32}, InvalidTypeError, "precision is a dtype; pass one of"),
        ({"backend": 1}, InvalidTypeError, "backend is a int; pass one of 'auto', 'cpu'"),
        ({"precision": "int4"}, UnsupportedDeviceError, "accepted are 'auto', 'fp32'"),
        ({"backend": "onnx"}, InvalidArgumentError, "'auto', 'cpu', 'triton', 'reference'"),
        ({"backend": "reference", "num_threads": 2}, InvalidArgumentError, "set_num_threads"),
        ({"max_length": MAX_LENGTH + 1}, InvalidArgumentError, f"end at {MAX_LENGTH} tokens"),
        ({"max_length": 3}, InvalidArgumentError, "at least 4"),
        ({"max_length": "64"}, InvalidTypeError, "max_length is a str"),
        ({"truncation": "longest"}, InvalidArgumentError, "'longest_first', 'only_second'"),
        ({"num_threads": 0}, InvalidArgumentError, "num_threads=0"),
        ({"num_threads": True}, InvalidTypeError, "num_threads is a bool"),
        ({"token_cache_mb": -1}, InvalidArgumentError, "token_cache_mb=-1"),
        ({"token_cache_mb": math.inf}, InvalidArgumentError, "token_cache_mb=inf"),
        ({"token_cache_mb": "8"}, InvalidTypeError, "token_cache_mb is a str"),
        ({"activation": "sigmod"}, InvalidArgumentError, "activation='sigmod'"),
        ({"calibration": 3}, InvalidTypeError, "calibration is a int"),
        ({"max_windows": 3}, InvalidArgumentError, "pass long_documents='chunk'"),
        ({"window_overlap": 0.5}, InvalidArgumentError, "pass long_documents='chunk'"),
        ({"revision": "main"}, InvalidArgumentError, "is of a model on the hub"),
    ):
        with pytest.raises(error, match=message):
            ZenReranker.from_pretrained(folder, **options)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_lenght"):
        ZenReranker.from_pretrained(folder, max_lenght=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidArgumentError, match="'zen-mini' is the folder"):
        ZenReranker.from_pretrained(revision="main")
    with pytest.raises(ModelNotFoundError):
        ZenReranker.from_pretrained(folder / "nothing")
    for model in (None, 7):
        with pytest.raises(InvalidTypeError, match=r"model is a .*; give a local folder, a hub id"):
            ZenReranker.from_pretrained(model)  # type: ignore[arg-type]


def test_from_pretrained_without_tokenizer_raises(tmp_path: Path) -> None:
    (save_reranker(tmp_path) / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        ZenReranker.from_pretrained(tmp_path)


def test_reference_without_torch_names_the_remedy(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "zen_fast.backends.reference", None)
    with pytest.raises(MissingDependencyError, match="pip install torch"):
        ZenReranker.from_pretrained(folder, backend="reference")


def test_from_pretrained_types_beyond_the_table_raise(tmp_path: Path) -> None:
    save_reranker(tmp_path, type_vocab_size=1)
    path = tmp_path / "model.safetensors"
    name = "bert.embeddings.token_type_embeddings.weight"
    tensors = load_file(path)
    save_file(tensors | {name: tensors[name][:1].copy()}, path, {"format": "pt"})
    with pytest.raises(UnsupportedModelError, match="token type 1"):
        ZenReranker.from_pretrained(tmp_path)


def test_score_token_beyond_the_embeddings_raises(tmp_path: Path) -> None:
    rewrite_settings(save_reranker(tmp_path), extra_special_tokens=["<highlight>"])
    for backend in ("cpu", "reference"):
        reranker = ZenReranker.from_pretrained(tmp_path, backend=backend)
        assert reranker.score(QUERY, ["plain"]).shape == (1,)
        with pytest.raises(UnsupportedModelError, match="embeddings end at"):
            reranker.score(QUERY, ["a <highlight> b"])


def test_auto_logs_its_choice_once(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="zen_fast"):
        ZenReranker.from_pretrained(folder).score(QUERY, SENTENCES)
    assert [record.message.split(":")[0] for record in caplog.records] == ["chose the cpu backend"]


def test_properties_and_repr_say_what_it_is(folder: Path, reranker: ZenReranker) -> None:
    assert reranker.model == str(folder)
    assert reranker.backend == "cpu"
    assert reranker.spec.num_layers == 2
    assert repr(reranker).startswith(f"ZenReranker({str(folder)!r}, architecture='bert'")
    assert "backend='cpu', precision='fp32'" in repr(reranker)
    quantized = ZenReranker.from_pretrained(folder, precision="int8")
    assert quantized.precision == "int8"
    assert "precision='int8'" in repr(quantized)


def test_pickle_loads_what_was_loaded(folder: Path) -> None:
    reranker = ZenReranker.from_pretrained(
        folder, precision="int8", num_threads=1, activation="identity", max_length=20
    )
    copy = pickle.loads(pickle.dumps(reranker))
    assert repr(copy) == repr(reranker)
    np.testing.assert_array_equal(copy.score(QUERY, DOCUMENTS), reranker.score(QUERY, DOCUMENTS))


def test_package_exports_are_lazy_and_complete() -> None:
    for name in zen_fast.__all__:
        assert getattr(zen_fast, name) is not None
        assert name in dir(zen_fast)
    with pytest.raises(AttributeError, match="no attribute 'ZenRanker'"):
        zen_fast.ZenRanker  # noqa: B018
