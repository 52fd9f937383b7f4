"""Reading collections in the BEIR layout, and BM25 over their texts."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from zen_fast.bm25 import Bm25Index
from zen_fast.collection import CollectionDocument, CollectionError, load_collection

CORPUS = '{"_id": "d1", "title": "Wings", "text": "lift and drag"}\n{"_id": "d2", "text": "heat"}\n'
QUERIES = '{"_id": "q1", "text": "what is lift"}\n{"_id": "q2", "text": "not judged"}\n'
QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq1\tabsent\t1\nq9\td1\t1\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_text(CORPUS)
    (tmp_path / "queries.jsonl").write_text(QUERIES)
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS)
    return tmp_path


def test_load_collection_keeps_what_is_judged_and_there(folder: Path) -> None:
    collection = load_collection(folder, "test")
    assert collection.documents == {
        "d1": CollectionDocument("Wings", "lift and drag"),
        "d2": CollectionDocument("", "heat"),
    }
    assert collection.documents["d1"].full == "Wings lift and drag"
    assert collection.documents["d2"].full == "heat"
    assert collection.queries == {"q1": "what is lift"}
    assert collection.judgements == {"q1": {"d1": 2, "d2": 0}}


def test_load_collection_reads_gzip(folder: Path) -> None:
    plain = folder / "corpus.jsonl"
    with gzip.open(folder / "corpus.jsonl.gz", "wt") as packed:
        packed.write(plain.read_text())
    plain.unlink()
    assert len(load_collection(folder).documents) == 2


@pytest.mark.parametrize("line", ["{not json", '{"_id": "d3"}', "[1, 2]", '{"_id": 3, "text": 4}'])
def test_load_collection_names_file_and_line_of_a_malformed_row(folder: Path, line: str) -> None:
    (folder / "corpus.jsonl").write_text(CORPUS + line + "\n")
    with pytest.raises(CollectionError, match=r"corpus\.jsonl, line 3: expected"):
        load_collection(folder)


@pytest.mark.parametrize("title", ['["Wings"]', "3", "true"])
def test_load_collection_refuses_a_title_that_is_no_string(folder: Path, title: str) -> None:
    line = f'{{"_id": "d3", "title": {title}, "text": "drag"}}\n'
    (folder / "corpus.jsonl").write_text(CORPUS + line)
    with pytest.raises(CollectionError, match=r"corpus\.jsonl, line 3: the title is a"):
        load_collection(folder)


@pytest.mark.parametrize(("mark", "encoding"), [("\ufeff", "utf-8"), ("", "latin-1")])
def test_load_collection_reads_judgements_as_it_does_rows(
    folder: Path, mark: str, encoding: str
) -> None:
    (folder / "qrels" / "test.tsv").write_text(f"{mark}{QRELS}qé\td1\t1\n", encoding=encoding)
    if encoding == "utf-8":
        assert load_collection(folder).judgements == {"q1": {"d1": 2, "d2": 0}}
        return
    with pytest.raises(CollectionError, match=r"test\.tsv, line 6 is not UTF-8 at byte 1"):
        load_collection(folder)


@pytest.mark.parametrize("file", ["corpus", "queries"])
def test_load_collection_names_the_lines_that_share_an_id(folder: Path, file: str) -> None:
    path = folder / f"{file}.jsonl"
    repeated = path.read_text().splitlines()[0]
    path.write_text(path.read_text() + "\n" + repeated + "\n")
    with pytest.raises(CollectionError, match=rf"{file}\.jsonl, line 4: the id .* of line 1"):
        load_collection(folder)


@pytest.mark.parametrize("line", ["q1 d1 1", "q1\td1", "q1\td1\thigh"])
def test_load_collection_names_file_and_line_of_a_malformed_judgement(
    folder: Path, line: str
) -> None:
    (folder / "qrels" / "test.tsv").write_text(QRELS + line + "\n")
    with pytest.raises(CollectionError, match=r"test\.tsv, line 6: expected"):
        load_collection(folder)


def test_load_collection_names_the_splits_there_are(folder: Path) -> None:
    with pytest.raises(CollectionError, match="splits found there: test"):
        load_collection(folder, "dev")


def test_load_collection_says_which_file_is_missing(folder: Path) -> None:
    (folder / "queries.jsonl").unlink()
    with pytest.raises(CollectionError, match=r"neither queries\.jsonl nor"):
        load_collection(folder)


def test_judged_documents_only_drops_the_rest(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").write_text("q1\td2\t1\n")
    assert list(load_collection(folder).judged_documents_only().documents) == ["d2"]


def test_bm25_ranks_by_stemmed_words_and_leaves_out_texts_without_any() -> None:
    index = Bm25Index(["a wing lifts", "heating of plates", "heated plates in heat"])
    assert index.top(["heat of plates", "lifting", "nothing here"], k=3) == [[2, 1], [0], []]
