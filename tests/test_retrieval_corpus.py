"""Documents as users have them: their ids, and what rides along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zen_fast.retrieval import CorpusError
from zen_fast.retrieval.corpus import read_corpus


@pytest.mark.parametrize(
    ("row", "document_id", "fields"),
    [
        ({"_id": "a", "id": 7, "text": "t"}, "a", {"id": 7}),
        ({"id": 7, "text": "t", "year": 1958}, "7", {"year": 1958}),
        ({"text": "t", "year": 1958}, "0", {"year": 1958}),
    ],
)
def test_all_but_the_text_and_the_field_used_as_the_id_rides_along(
    row: dict[str, Any], document_id: str, fields: dict[str, Any]
) -> None:
    (document,) = read_corpus([row])
    assert (document.id, document.text, document.fields) == (document_id, "t", fields)


@pytest.mark.parametrize("document_id", [3, np.int64(3), np.uint8(3), "3", np.str_("3")])
def test_an_id_is_a_text_or_a_whole_number_of_any_kind(document_id: object) -> None:
    (document,) = read_corpus([{"id": document_id, "text": "t"}])
    assert document.id == "3"
    assert type(document.id) is str


@pytest.mark.parametrize("document_id", [True, np.bool_(True), 3.0, np.float32(3), None, b"3"])
def test_an_id_of_another_type_is_refused(document_id: object) -> None:
    with pytest.raises(CorpusError, match=r"corpus\[0\] has the id"):
        list(read_corpus([{"id": document_id, "text": "t"}]))
