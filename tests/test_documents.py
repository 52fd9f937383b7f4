from __future__ import annotations

from collections import UserDict

import numpy as np
import pytest

from zen_fast import InvalidTypeError
from zen_fast.documents import as_list, document_texts, query_list, query_text


def test_document_texts_takes_strings_and_mappings() -> None:
    documents = [
        "a",
        {"text": "b", "title": "not scored", "id": 3},
        UserDict(text="c"),
        np.str_("d"),
    ]
    texts = document_texts(documents)
    assert texts == ["a", "b", "c", "d"]
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (None, r"documents\[1\] is None; pass a string"),
        (b"bytes", r"documents\[1\] is bytes \(decode it first\)"),
        (3, r"documents\[1\] is an int"),
        (float("nan"), r"documents\[1\] is a float"),
        (["a"], r"documents\[1\] is a list"),
        ({}, r"documents\[1\] has no 'text' field \(its fields: none\)"),
        ({"body": "x"}, r"documents\[1\] has no 'text' field \(its fields: 'body'\)"),
        ({"text": None}, r"documents\[1\]\['text'\] is None"),
    ],
)
def test_document_texts_wrong_document_raises_with_its_index(
    document: object, message: str
) -> None:
    with pytest.raises(InvalidTypeError, match=message):
        document_texts(["fine", document])


def test_as_list_bare_text_raises_with_the_remedy() -> None:
    for single in ("a text", b"bytes", {"text": "x"}):
        with pytest.raises(InvalidTypeError, match=r"wrap it in a list: documents=\[\.\.\.\]"):
            as_list(single, "documents", "documents")
    for no_list in (None, 3):
        with pytest.raises(InvalidTypeError, match="pass a list of documents"):
            as_list(no_list, "documents", "documents")


def test_as_list_takes_any_iterable() -> None:
    assert as_list((text for text in "ab"), "documents", "documents") == ["a", "b"]
    assert as_list(np.array(["a", "b"]), "documents", "documents") == ["a", "b"]


def test_query_wrong_type_raises() -> None:
    for query in (None, 3, {"text": "q"}, ["q"]):
        with pytest.raises(InvalidTypeError, match="query is "):
            query_text(query)
    with pytest.raises(InvalidTypeError, match=r"queries\[1\] is None"):
        query_list(["fine", None])
