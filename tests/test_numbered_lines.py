"""Users' files, line by line, and the three readers that go through one."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from zen_fast.collection import CollectionError, load_collection
from zen_fast.document_files import read_documents
from zen_fast.errors import InvalidArgumentError, ZenError
from zen_fast.numbered_lines import is_json, numbered_lines
from zen_fast.retrieval import CorpusError
from zen_fast.retrieval.corpus import read_corpus

ROW = '{"_id": "d1", "title": "Wings", "text": "lift"}\n'
PACKED = gzip.compress("".join(ROW.replace("d1", f"d{n}") for n in range(1000)).encode())
BOM = b"\xef\xbb\xbf"


def _read_as_documents(path: Path) -> list[str]:
    return [document.text for document in read_documents(str(path))]


def _read_as_corpus(path: Path) -> list[str]:
    return [document.text for document in read_corpus(path)]


def _read_as_collection(path: Path) -> list[str]:
    folder = path.parent
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / "qrels" / "test.tsv").write_text("q1\td1\t1\n")
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "what is lift"}\n')
    return [document.full for document in load_collection(folder).documents.values()]


READERS = [
    (_read_as_documents, InvalidArgumentError, "lift"),
    (_read_as_corpus, CorpusError, "Wings lift"),
    (_read_as_collection, CollectionError, "Wings lift"),
]
Reader = Callable[[Path], list[str]]
EVERY_READER = pytest.mark.parametrize(
    ("read", "error", "text"), READERS, ids=["documents", "corpus", "collection"]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jsonl", True),
        ("a.NDJSON", True),
        ("a.json.gz", True),
        ("A.JSONL.GZ", True),
        ("a.txt", False),
        ("a.jsonl.txt", False),
        ("-", False),
        ("folder.json/a", False),
    ],
)
def test_is_json_goes_by_the_name_in_any_case(name: str, expected: bool) -> None:
    assert is_json(name) is expected
    assert is_json(Path(name)) is expected


def test_lines_are_numbered_as_in_the_file_and_blank_ones_left_out(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(BOM + "Ä\r\n \n\n b \nc".encode())
    lines = list(numbered_lines(path, InvalidArgumentError))
    assert lines == [(1, "Ä"), (4, " b "), (5, "c")]


@EVERY_READER
@pytest.mark.parametrize("packed", [False, True])
def test_every_reader_takes_gzip_and_a_byte_order_mark(
    tmp_path: Path, read: Reader, error: type[ZenError], text: str, packed: bool
) -> None:
    content = BOM + ROW.encode()
    path = tmp_path / f"corpus.jsonl{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read(path) == [text]


@EVERY_READER
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl.gz", PACKED[:-20], "cannot read .*corpus.jsonl.gz"),
        ("corpus.jsonl.gz", PACKED[:30] + bytes(30) + PACKED[60:], "cannot read .*corpus.jsonl.gz"),
        ("corpus.jsonl.gz", ROW.encode(), "cannot read .*corpus.jsonl.gz"),
        ("corpus.jsonl", ROW.encode() + b"caf\xe9", "corpus.jsonl, line 2 is not UTF-8 at byte 3"),
    ],
    ids=["cut off", "damaged", "not packed", "latin-1"],
)
def test_every_reader_names_a_file_that_cannot_be_read(
    tmp_path: Path,
    read: Reader,
    error: type[ZenError],
    text: str,
    name: str,
    content: bytes,
    message: str,
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        read(path)


def test_an_upper_case_suffix_is_json_for_both(tmp_path: Path) -> None:
    path = tmp_path / "CORPUS.JSONL"
    path.write_text(ROW)
    assert _read_as_documents(path) == ["lift"]
    assert _read_as_corpus(path) == ["Wings lift"]
