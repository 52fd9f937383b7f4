"""Unjudged candidate lists: queries of collections with documents near and far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.list_table import TABLE_COLUMNS, ListTable, read_columns, write_columns
from zen_fast.train.texts import cut_passages, keywords, split_sentences

DEPTH = 100
_NUM_TOP, _TOP = 4, 10
_NUM_DEEP = 4
_NUM_RANDOM = 1
_KEYWORD_SHARE = 0.1
"""Of the queries, without their stop words: people type such, too."""
_MAX_STATEMENT_WORDS = 32
_PASSAGE_WORDS = (8, 16, 32, 64, 128)
"""Every second list is of passages of about so many words: scores at every length are learned."""


@dataclass(frozen=True)
class _Question:
    """What is asked of a collection's documents."""

    text: str
    source: int | None
    """The document that it was taken from, which is no candidate of its own."""


@dataclass(frozen=True)
class _Pool:
    """Texts that become candidates, each with the number of its document."""

    texts: list[str]
    documents: list[int]

    def lists(
        self, questions: Sequence[_Question], rng: np.random.Generator
    ) -> Iterator[tuple[str, list[str]]]:
        """Each question with its candidates; one that has too few is left out."""
        # Lists that are in a file need no first stage, and no package for one.
        from zen_fast.bm25 import Bm25Index

        rankings = Bm25Index(self.texts).top([question.text for question in questions], DEPTH)
        for question, ranking in zip(questions, rankings, strict=True):
            ranked = [row for row in ranking if self.documents[row] != question.source]
            if len(ranked) < _TOP + _NUM_DEEP:
                continue
            chosen = [
                *rng.choice(ranked[:_TOP], _NUM_TOP, replace=False),
                *rng.choice(ranked[_TOP:], _NUM_DEEP, replace=False),
                *rng.integers(len(self.texts), size=_NUM_RANDOM),
            ]
            yield question.text, [self.texts[row] for row in chosen]


def unjudged_lists(
    collections: Sequence[Collection],
    num_queries: Sequence[int],
    num_statements: Sequence[int],
    rng: np.random.Generator,
) -> ListTable:
    """Lists of some of BM25's best documents, some of its other candidates, and a random one.

    Only documents that the collections' splits judge take part, so that those of another split
    stay unknown. Every second list is of passages instead of whole documents.

    Args:
        num_queries: at most so many of each collection, drawn at random.
        num_statements: so many sentences of each collection's documents are queries, too.

    Raises:
        TrainingDataError: no query has candidates enough for a list.
    """
    lists: list[tuple[str, list[str]]] = []
    for collection, queries, statements in zip(
        collections, num_queries, num_statements, strict=True
    ):
        documents = list(collection.judged_documents_only().documents.values())
        questions = [
            *_queries(collection, queries, rng),
            *_statements(documents, statements, rng),
        ]
        rng.shuffle(questions)
        for part, pool in enumerate((_whole(documents), _passages(documents, rng))):
            lists += pool.lists(questions[part::2], rng)
    if not lists:
        raise TrainingDataError(
            f"none of the queries of {', '.join(each.name for each in collections)} has "
            f"{_TOP + _NUM_DEEP} candidates; give a larger collection"
        )
    mixed = [lists[index] for index in rng.permutation(len(lists)).tolist()]
    return ListTable.from_texts(*zip(*mixed, strict=True))


def write_lists(path: Path, lists: ListTable) -> None:
    """Write one compressed file."""
    write_columns(path, lists.columns())


def read_lists(path: Path) -> ListTable:
    """Read what `write_lists` wrote.

    Raises:
        TrainingDataError: it is no such file.
    """
    return ListTable.from_columns(read_columns(path, TABLE_COLUMNS))


def _queries(collection: Collection, count: int, rng: np.random.Generator) -> list[_Question]:
    ids = sorted(collection.queries)
    rng.shuffle(ids)
    texts = [collection.queries[query_id] for query_id in ids[:count]]
    are_shortened = rng.random(len(texts)) < _KEYWORD_SHARE
    return [
        _Question(keywords(text) if shortened else text, None)
        for text, shortened in zip(texts, are_shortened, strict=True)
    ]


def _statements(
    documents: Sequence[CollectionDocument], count: int, rng: np.random.Generator
) -> list[_Question]:
    """Sentences, drawn from one document after another in random order."""
    questions: list[_Question] = []
    sentences_of = {
        index: sentences
        for index, document in enumerate(documents)
        if (sentences := split_sentences(document.text))
    }
    sources = list(sentences_of)
    while len(questions) < count and sources:
        rng.shuffle(sources)
        for source in sources[: count - len(questions)]:
            words = str(rng.choice(sentences_of[source])).split()
            questions.append(_Question(" ".join(words[:_MAX_STATEMENT_WORDS]), source))
    return questions


def _whole(documents: Sequence[CollectionDocument]) -> _Pool:
    return _Pool([document.full for document in documents], list(range(len(documents))))


def _passages(documents: Sequence[CollectionDocument], rng: np.random.Generator) -> _Pool:
    """The documents' texts without their titles, cut; a title where that is all there is."""
    texts, owners = [], []
    for index, document in enumerate(documents):
        passages = cut_passages(document.text, lambda: int(rng.choice(_PASSAGE_WORDS)))
        passages = passages or [document.title]
        texts += passages
        owners += [index] * len(passages)
    return _Pool(texts, owners)
