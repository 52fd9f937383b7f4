"""Candidate lists, the unit of training: one query, one relevant document, many that are not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from zen_fast.bm25 import Bm25Index
from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.recipe import Recipe, Source
from zen_fast.train.texts import best_window, content_words, split_sentences

_MIN_CLOZE_WORDS = 6
_MAX_CLOZE_WORDS = 40


@dataclass(frozen=True)
class CandidateList:
    """A query and its candidates, as texts."""

    query: str
    documents: list[str]
    """(num_candidates) what the cross-encoder reads, perhaps a window of the document."""
    grades: list[int]
    """(num_candidates) judged grade, 0 for not relevant."""
    document_keys: list[str]
    """(num_candidates) "collection/document id", by which the teacher knows the whole document."""
    bm25: list[float]
    """(num_candidates) BM25 of query and whole document, as a share of the list's best."""
    cosines: list[float]
    """(num_candidates) teacher's cosine of query and whole document; empty before the teacher."""


class ListBuilder:
    """Builds the training and dev lists of one collection."""

    def __init__(
        self, collection: Collection, source: Source, recipe: Recipe, rng: np.random.Generator
    ) -> None:
        self._recipe = recipe
        self._source = source
        self._rng = rng
        self._name = collection.name
        self._documents = _sample_documents(collection, source.num_documents, rng)
        self._ids = list(self._documents)
        self._position = {document_id: index for index, document_id in enumerate(self._ids)}
        self._bm25 = Bm25Index([self._documents[key].full for key in self._ids])
        query_ids = [
            query_id
            for query_id, grades in collection.judgements.items()
            if any(grade > 0 and key in self._position for key, grade in grades.items())
        ]
        rng.shuffle(query_ids)
        self._queries = collection.queries
        self._judgements = collection.judgements
        self._dev_ids = query_ids[: source.num_dev_queries]
        dev_texts = {collection.queries[query_id] for query_id in self._dev_ids}
        self._train_ids = [
            query_id
            for query_id in query_ids[source.num_dev_queries :]
            if collection.queries[query_id] not in dev_texts
        ]

    @property
    def documents(self) -> dict[str, str]:
        """Whole text of every document in use, by document key."""
        return {f"{self._name}/{key}": doc.full for key, doc in self._documents.items()}

    def question_lists(self) -> list[CandidateList]:
        """Lists for judged queries of the split.

        Raises:
            TrainingDataError: the collection has too few documents for one list.
        """
        query_ids = self._train_ids[: self._source.num_questions]
        queries = [self._maybe_keywords(self._queries[query_id]) for query_id in query_ids]
        lists = []
        for query_id, query, ranked in zip(
            query_ids, queries, self._bm25.top(queries, self._recipe.mining_depth), strict=True
        ):
            grades = self._judgements[query_id]
            relevant = [key for key in grades if grades[key] > 0 and key in self._position]
            chosen = relevant[int(self._rng.integers(len(relevant)))]
            negatives = self._negatives(ranked, {*relevant})
            lists.append(self._candidate_list(query, chosen, grades[chosen], negatives))
        return lists

    def cloze_lists(self) -> list[CandidateList]:
        """Lists whose query is a sentence of a document, mostly taken out of that document.

        Inverse cloze task: Lee et al., "Latent Retrieval for Weakly Supervised Open Domain
        Question Answering", ACL 2019.

        Raises:
            TrainingDataError: the collection has too few documents for one list.
        """
        cases: list[tuple[str, str, CollectionDocument]] = []
        frequency = Counter(
            text for document in self._documents.values() for text in split_sentences(document.text)
        )
        for index in self._rng.permutation(len(self._ids)):
            if len(cases) == self._source.num_cloze:
                break
            document = self._documents[self._ids[index]]
            sentences = split_sentences(document.text)
            lengths = [len(sentence.split()) for sentence in sentences]
            usable = [
                number
                for number, length in enumerate(lengths)
                if _MIN_CLOZE_WORDS <= length <= _MAX_CLOZE_WORDS
                and frequency[sentences[number]] == 1
            ]
            if len(sentences) < 3 or not usable:
                continue
            number = usable[int(self._rng.integers(len(usable)))]
            keep = self._rng.random() < 0.1
            rest = [text for place, text in enumerate(sentences) if keep or place != number]
            remainder = CollectionDocument(document.title, " ".join(rest))
            cases.append((self._ids[index], self._maybe_keywords(sentences[number]), remainder))
        ranking = self._bm25.top([query for _, query, _ in cases], self._recipe.mining_depth)
        return [
            self._candidate_list(query, key, 1, self._negatives(ranked, {key}), remainder)
            for (key, query, remainder), ranked in zip(cases, ranking, strict=True)
        ]

    def dev_lists(self) -> list[CandidateList]:
        """Held-out queries with BM25's best whole documents, the relevant ones included."""
        depth = self._recipe.dev_candidates
        queries = [self._queries[query_id] for query_id in self._dev_ids]
        lists = []
        for query_id, query, ranked in zip(
            self._dev_ids, queries, self._bm25.top(queries, depth), strict=True
        ):
            grades = self._judgements[query_id]
            best = [self._ids[index] for index in ranked]
            relevant = [key for key, grade in grades.items() if grade > 0 and key in self._position]
            others = [key for key in best if key not in relevant]
            others = others[: max(0, depth - len(relevant))]
            keys = [key for key in best if key in relevant or key in others]
            keys += [key for key in relevant if key not in best]
            lists.append(
                CandidateList(
                    query,
                    [self._documents[key].full for key in keys],
                    [grades.get(key, 0) for key in keys],
                    [f"{self._name}/{key}" for key in keys],
                    [],
                    [],
                )
            )
        return lists

    def _maybe_keywords(self, query: str) -> str:
        words = content_words(query)
        if self._rng.random() < self._recipe.keyword_share and len(words) >= 2:
            return " ".join(words)
        return query

    def _negatives(self, ranked: Sequence[int], excluded: set[str]) -> list[str]:
        """BM25's mistakes, half of them from its very best, then random documents."""
        num_negatives = self._recipe.num_candidates - 1
        num_others = len(self._ids) - len(excluded)
        if num_others < num_negatives:
            raise TrainingDataError(
                f"collection {self._name!r} has {num_others} documents in use beside the "
                f"{len(excluded)} relevant for a query, but num_candidates="
                f"{self._recipe.num_candidates} needs {num_negatives}; lower num_candidates, raise "
                "the source's num_documents, or give a larger collection"
            )
        hard = [self._ids[index] for index in ranked if self._ids[index] not in excluded]
        num_hard = num_negatives - self._recipe.num_random
        head, tail = hard[: 2 * num_hard], hard[2 * num_hard :]
        self._rng.shuffle(head)
        self._rng.shuffle(tail)
        num_head = max(num_hard // 2 + 1, num_hard - len(tail))
        chosen = head[:num_head] + tail[: max(0, num_hard - num_head)]
        while len(chosen) < num_negatives:
            key = self._ids[int(self._rng.integers(len(self._ids)))]
            if key not in excluded and key not in chosen:
                chosen.append(key)
        return chosen[:num_negatives]

    def _candidate_list(
        self,
        query: str,
        relevant: str,
        grade: int,
        negatives: Sequence[str],
        relevant_document: CollectionDocument | None = None,
    ) -> CandidateList:
        keys = [relevant, *negatives]
        documents = [self._documents[key] for key in keys]
        documents[0] = relevant_document or documents[0]
        max_words = int(self._rng.choice(self._recipe.crop_words))
        with_title = max_words == 0 or self._rng.random() < 0.5
        texts = []
        for document in documents:
            sentences = split_sentences(document.text)
            cut = best_window(sentences, query, max_words) if max_words and sentences else ""
            title = document.title if with_title else ""
            texts.append(CollectionDocument(title, cut or document.text).full)
        return CandidateList(
            query,
            texts,
            [grade] + [0] * len(negatives),
            [f"{self._name}/{key}" for key in keys],
            self._bm25_shares(query, keys),
            [],
        )

    def _bm25_shares(self, query: str, keys: Sequence[str]) -> list[float]:
        scores = self._bm25.scores(query, [self._position[key] for key in keys])
        best = max(scores) or 1.0
        return [round(score / best, 5) for score in scores]


def _sample_documents(
    collection: Collection, num_documents: int, rng: np.random.Generator
) -> dict[str, CollectionDocument]:
    """About `num_documents`, whole titles at a time, so that near neighbours stay together."""
    if num_documents in (0, len(collection.documents)):
        return collection.documents
    groups: dict[str, list[str]] = {}
    for key, document in collection.documents.items():
        groups.setdefault(document.title or key, []).append(key)
    titles = list(groups)
    rng.shuffle(titles)
    chosen: list[str] = []
    for title in titles:
        if len(chosen) >= num_documents:
            break
        chosen.extend(groups[title])
    return {key: collection.documents[key] for key in chosen}


def write_lists(path: Path, lists: Iterable[CandidateList]) -> None:
    """Write one JSON line per list."""
    with path.open("w", encoding="utf-8") as lines:
        for candidate_list in lists:
            lines.write(json.dumps(asdict(candidate_list), ensure_ascii=False) + "\n")


def read_lists(path: Path) -> list[CandidateList]:
    """Read what `write_lists` wrote."""
    with path.open(encoding="utf-8") as lines:
        return [CandidateList(**json.loads(line)) for line in lines]
