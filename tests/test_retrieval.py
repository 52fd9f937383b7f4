"""The retriever: modes, saving, adding, and the mistakes it names."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bm25s")
pytest.importorskip("usearch")

from tiny_embedders import save_embedder
from tiny_tokenizers import SENTENCES

from zen_fast import (
    Candidate,
    InvalidArgumentError,
    InvalidTypeError,
    TwoStagePipeline,
    ZenEmbedder,
    ZenReranker,
    ZenRetriever,
)
from zen_fast.retrieval import CorpusError, IndexFolderError, corpus_encoding

DOCUMENTS = [
    {"id": f"d{number}", "text": text, "topic": number % 3} for number, text in enumerate(SENTENCES)
]
QUERY = "which gases trap heat?"


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> ZenEmbedder:
    folder = tmp_path_factory.mktemp("embedder")
    save_embedder(folder, prompts={"query": "query: "})
    return ZenEmbedder.from_pretrained(folder, num_threads=1)


@pytest.fixture(scope="module")
def hybrid(embedder: ZenEmbedder) -> ZenRetriever:
    return ZenRetriever.from_corpus(DOCUMENTS, embedder=embedder)


def _ids(candidates: Sequence[Any]) -> list[str]:
    return [candidate.id for candidate in candidates]


def test_bm25_finds_the_documents_that_share_words() -> None:
    retriever = ZenRetriever.from_corpus(DOCUMENTS)
    assert (retriever.mode, len(retriever)) == ("bm25", len(DOCUMENTS))
    best, *_ = retriever.retrieve(QUERY, k=3)
    assert (best.id, best.text, best.fields) == ("d1", SENTENCES[1], {"topic": 1})
    assert best.score > 0
    assert retriever.retrieve("xylophone", k=3) == []


@pytest.mark.parametrize("vectors", ["f32", "f16", "i8"])
@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_dense_ranks_by_cosine(embedder: ZenEmbedder, vectors: Any, search: Any) -> None:
    retriever = ZenRetriever.from_corpus(
        DOCUMENTS, embedder=embedder, mode="dense", vectors=vectors, search=search
    )
    found = retriever.retrieve(QUERY, k=4)
    cosines = embedder.encode_documents(SENTENCES) @ embedder.encode_queries([QUERY])[0]
    expected = {f"d{number}": cosines[number] for number in range(len(SENTENCES))}
    tolerance = {"f32": 1e-5, "f16": 2e-3, "i8": 2e-2}[vectors]
    scores = [candidate.score for candidate in found]
    assert scores == sorted(scores, reverse=True)
    for candidate in found:
        assert candidate.score == pytest.approx(expected[candidate.id], abs=tolerance)
    assert scores[-1] >= np.sort(cosines)[-4] - tolerance


def test_dot_products_are_compared_as_they_are(tmp_path: Path) -> None:
    save_embedder(tmp_path, normalize=False, similarity_fn_name="dot")
    embedder = ZenEmbedder.from_pretrained(tmp_path, num_threads=1)
    arguments: Any = {"embedder": embedder, "mode": "dense"}
    products = embedder.encode(SENTENCES) @ embedder.encode([QUERY])[0]
    for search in ("exact", "hnsw"):
        retriever = ZenRetriever.from_corpus(DOCUMENTS, search=search, vectors="f32", **arguments)
        (best,) = retriever.retrieve(QUERY, k=1)
        assert best.id == f"d{products.argmax()}"
        assert best.score == pytest.approx(products.max(), rel=1e-4)
    with pytest.raises(InvalidArgumentError, match="compared by cosine"):
        ZenRetriever.from_corpus(DOCUMENTS, vectors="i8", **arguments)


def test_hybrid_fuses_ranks_by_weight(embedder: ZenEmbedder, hybrid: ZenRetriever) -> None:
    by_mode = {mode: _ids(hybrid.retrieve(QUERY, mode=mode)) for mode in ("bm25", "dense")}
    expected: dict[str, float] = {}
    for ranking in by_mode.values():
        for rank, document_id in enumerate(ranking, start=1):
            expected[document_id] = expected.get(document_id, 0.0) + 1 / (60 + rank)
    for candidate in hybrid.retrieve(QUERY):
        assert candidate.score == pytest.approx(expected[candidate.id])
    for weights, mode in (((1, 0), "bm25"), ((0, 1), "dense")):
        only = ZenRetriever.from_corpus(DOCUMENTS, embedder=embedder, weights=weights)
        assert _ids(only.retrieve(QUERY, k=1)) == by_mode[mode][:1]


def test_batch_equals_single_queries_and_k_may_exceed_the_corpus(hybrid: ZenRetriever) -> None:
    queries = [QUERY, "", "the"]
    batch = hybrid.batch_retrieve(queries, k=1000)
    assert [len(found) for found in batch] == [len(DOCUMENTS)] * 3
    assert list(map(_ids, batch)) == [_ids(hybrid.retrieve(query, k=1000)) for query in queries]
    assert hybrid.batch_retrieve([]) == []


@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_saved_index_answers_alike_and_grows(
    tmp_path: Path, embedder: ZenEmbedder, search: Any
) -> None:
    first, rest = DOCUMENTS[:6], DOCUMENTS[6:]
    retriever = ZenRetriever.from_corpus(first, embedder=embedder, search=search)
    retriever.save(tmp_path / "index")
    loaded = ZenRetriever.load(tmp_path / "index")  # the embedder comes from where it was
    assert loaded.retrieve(QUERY)[0].fields == retriever.retrieve(QUERY)[0].fields
    loaded.add(rest)
    loaded.save(tmp_path / "index")
    again = ZenRetriever.load(tmp_path / "index", embedder=embedder)
    whole = ZenRetriever.from_corpus(DOCUMENTS, embedder=embedder, search=search)
    for mode in ("bm25", "dense", "hybrid"):
        expected = whole.retrieve(QUERY, mode=mode)
        found = again.retrieve(QUERY, mode=mode)
        assert _ids(found) == _ids(expected)
        assert [each.score for each in found] == pytest.approx([each.score for each in expected])
    assert len(list((tmp_path / "index").glob("data-*"))) == 1


def test_save_that_fails_leaves_the_old_index(
    tmp_path: Path, hybrid: ZenRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "index"
    ZenRetriever.from_corpus(DOCUMENTS[:2]).save(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
    with pytest.raises(OSError, match="disk is full"):
        hybrid.save(folder)
    with pytest.raises(OSError, match="disk is full"):
        hybrid.save(tmp_path / "new")
    monkeypatch.undo()
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert len(ZenRetriever.load(folder)) == 2
    assert not (tmp_path / "new").exists()


def test_interrupted_encoding_goes_on(
    tmp_path: Path, embedder: ZenEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus_encoding, "SHARD_DOCUMENTS", 3)
    encoded: list[int] = []
    original = ZenEmbedder.encode_documents

    def counting(self: ZenEmbedder, texts: Sequence[str], **options: Any) -> np.ndarray:
        if len(encoded) == 3:  # the probes and two shards
            raise KeyboardInterrupt
        encoded.append(len(texts))
        return original(self, texts, **options)

    monkeypatch.setattr(ZenEmbedder, "encode_documents", counting)
    arguments: Any = {"embedder": embedder, "mode": "dense", "resume_folder": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        ZenRetriever.from_corpus(DOCUMENTS, **arguments)
    encoded[:] = [0, 0]
    with pytest.raises(KeyboardInterrupt):
        ZenRetriever.from_corpus(DOCUMENTS, **arguments)
    assert encoded[2:] == [len(corpus_encoding.PROBES)]
    encoded[:] = []
    resumed = ZenRetriever.from_corpus(DOCUMENTS, **arguments)
    assert encoded == [len(corpus_encoding.PROBES), 3, 1]
    monkeypatch.undo()
    fresh = ZenRetriever.from_corpus(DOCUMENTS, embedder=embedder, mode="dense")
    assert _ids(resumed.retrieve(QUERY)) == _ids(fresh.retrieve(QUERY))


def test_encoding_shows_how_far_it_is(
    embedder: ZenEmbedder, capsys: pytest.CaptureFixture[str]
) -> None:
    ZenRetriever.from_corpus(DOCUMENTS, embedder=embedder, show_progress=True)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "document/s" in shown or "s/document" in shown
    ZenRetriever.from_corpus(DOCUMENTS, embedder=embedder, show_progress=False)
    assert capsys.readouterr().err == ""


def test_searches_run_while_documents_are_added(embedder: ZenEmbedder) -> None:
    retriever = ZenRetriever.from_corpus(DOCUMENTS[:2], embedder=embedder)
    sizes: list[int] = []
    adding = threading.Thread(
        target=lambda: [retriever.add([document]) for document in DOCUMENTS[2:]]
    )
    adding.start()
    while adding.is_alive():
        sizes.append(len(retriever.retrieve(QUERY)))
    adding.join()
    assert sizes == sorted(sizes)
    assert len(retriever.retrieve(QUERY)) == len(DOCUMENTS)


def test_reranker_takes_candidates_and_pipeline_times_both_stages(hybrid: ZenRetriever) -> None:
    reranker = ZenReranker.from_pretrained(num_threads=1)
    candidates = hybrid.retrieve(QUERY, k=5)
    ranked = reranker.rerank(QUERY, candidates, k=2)
    assert ranked[0].document is candidates[ranked[0].index]
    assert ranked[0].document["topic"] == 1
    result = TwoStagePipeline(hybrid, reranker, num_candidates=5).search(QUERY, k=2)
    assert [each.document["id"] for each in result.documents] == _ids(
        [each.document for each in ranked]
    )
    assert result.num_candidates == 5
    assert result.retrieve_ms > 0
    assert result.rerank_ms > 0


def test_pipeline_has_one_deadline_for_both_stages(
    hybrid: ZenRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    reranker = ZenReranker.from_pretrained(num_threads=1)
    pipeline = TwoStagePipeline(hybrid, reranker, num_candidates=5)
    exact = pipeline.search(QUERY, k=2)
    assert not exact.documents.work.is_partial
    assert pipeline.search(QUERY, k=2, deadline_ms=60_000).documents == exact.documents
    retrieve = hybrid.retrieve

    def slow_retrieve(query: str, k: int) -> list[Candidate]:
        time.sleep(0.05)
        return retrieve(query, k)

    monkeypatch.setattr(hybrid, "retrieve", slow_retrieve)
    late = pipeline.search(QUERY, k=2, deadline_ms=40)  # over before the second stage
    assert [each.index for each in late.documents] == [0, 1]
    assert (late.documents.work.num_scored, late.documents.work.stopped) == (0, "deadline")
    for options in ({"deadline_ms": 0}, {"early_stop": 2}):
        with pytest.raises(InvalidArgumentError, match=next(iter(options))):
            pipeline.search(QUERY, k=2, **options)  # type: ignore[arg-type]


def test_pipeline_passes_early_stop_on(hybrid: ZenRetriever) -> None:
    pipeline = TwoStagePipeline(hybrid, ZenReranker.from_pretrained(num_threads=1))
    (batched,) = pipeline.batch_search([QUERY], k=2, early_stop=0.9)
    alone = pipeline.search(QUERY, k=2, early_stop=0.9)
    assert batched.documents == alone.documents
    assert alone.documents.work == batched.documents.work
    assert alone.documents.work.is_partial


def test_corpus_files_are_read_as_beir_has_them(tmp_path: Path) -> None:
    rows = [{"_id": "a", "title": "Wings", "text": "lift", "year": 1958}, {"text": "drag"}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (best,) = ZenRetriever.from_corpus(tmp_path).retrieve("wing")
    assert (best.id, best.text, best.fields) == (
        "a",
        "Wings lift",
        {"title": "Wings", "year": 1958},
    )
    assert dict(best)["year"] == 1958
    (tmp_path / "lines.txt").write_text("one line\n\nanother line\n")
    found = ZenRetriever.from_corpus(tmp_path / "lines.txt").retrieve("another")
    assert _ids(found) == ["3"]


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ([], "the corpus is empty"),
        ([{"id": 1, "text": "a"}, {"id": "1", "text": "b"}], "id '1' occurs twice"),
        ([{"id": None, "text": "a"}], r"corpus\[0\] has the id None"),
        ([{"id": 1, "text": "a", "made": {1, 2}}], "'1' has a field that JSON cannot hold"),
        ("absent.jsonl", r"cannot read absent\.jsonl"),
    ],
)
def test_corpus_mistakes_are_typed(corpus: Any, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        ZenRetriever.from_corpus(corpus)


@pytest.mark.parametrize("line", ["{not json", "[1]", '{"_id": "b"}', '{"text": 3}'])
def test_malformed_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"_id": "a", "text": "lift"}\n' + line + "\n")
    with pytest.raises(CorpusError, match=r"corpus\.jsonl, line 2"):
        ZenRetriever.from_corpus(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "dense"}, "needs an embedder"),
        ({"mode": "sparse"}, "mode='sparse': accepted are"),
        ({"vectors": "f64"}, "vectors='f64'"),
        ({"search": "ivf"}, "search='ivf'"),
        ({"weights": (0, 0)}, "weights"),
    ],
)
def test_index_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        ZenRetriever.from_corpus(DOCUMENTS, **arguments)


def test_call_arguments_are_checked(hybrid: ZenRetriever) -> None:
    with pytest.raises(InvalidArgumentError, match="k=0"):
        hybrid.retrieve(QUERY, k=0)
    with pytest.raises(InvalidTypeError, match="k is a float"):
        hybrid.retrieve(QUERY, k=1.5)  # type: ignore[arg-type]
    with pytest.raises(InvalidTypeError, match="query is None"):
        hybrid.retrieve(None)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="answers by bm25"):
        ZenRetriever.from_corpus(DOCUMENTS).retrieve(QUERY, mode="dense")
    with pytest.raises(InvalidTypeError, match="corpus is a int"):
        ZenRetriever.from_corpus(3)  # type: ignore[arg-type]
    with pytest.raises(CorpusError, match="id 'd0' occurs twice"):
        hybrid.add(DOCUMENTS[:1])
    assert len(hybrid) == len(DOCUMENTS)


def test_index_of_another_model_or_release_is_refused(tmp_path: Path, hybrid: ZenRetriever) -> None:
    save_embedder(tmp_path / "other", seed=1)
    other = ZenEmbedder.from_pretrained(tmp_path / "other")
    hybrid.save(tmp_path / "index")
    with pytest.raises(IndexFolderError, match="made with another model"):
        ZenRetriever.load(tmp_path / "index", embedder=other)
    manifest = tmp_path / "index" / "index.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(IndexFolderError, match="format 99"):
        ZenRetriever.load(tmp_path / "index")
    with pytest.raises(IndexFolderError, match="holds no index"):
        ZenRetriever.load(tmp_path / "other")
    with pytest.raises(IndexFolderError, match="holds something that is no index"):
        hybrid.save(tmp_path / "other")
