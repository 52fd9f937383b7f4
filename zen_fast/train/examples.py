"""Making candidate lists from a collection: queries, then candidates for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zen_fast.bm25 import Bm25Index
from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.candidate_lists import CandidateList
from zen_fast.train.errors import TrainingDataError
from zen_fast.train.passages import Embed, PassagePool, Rating
from zen_fast.train.recipe import Recipe, Source
from zen_fast.train.teacher import Scores
from zen_fast.train.texts import content_words, split_sentences

_MIN_CLOZE_WORDS = 6
_MAX_CLOZE_WORDS = 40
_QUERIES_AT_ONCE = 256
_WORDLESS_BM25 = 0.1
"""Below this share of the best BM25 score, query and passage have next to no word in common."""


@dataclass(frozen=True)
class _Case:
    """A query before its candidates are chosen."""

    query: str
    answers: dict[int, int]
    """Passage row → grade, of the passages that may be the relevant one."""
    siblings: set[int]
    """All rows of the relevant documents."""


class ListBuilder:
    """Builds the training and dev lists of one collection."""

    def __init__(
        self,
        collection: Collection,
        source: Source,
        recipe: Recipe,
        embed: Embed,
        rng: np.random.Generator,
        held_out: AbstractSet[str] = frozenset(),
    ) -> None:
        """Choose queries and documents, and cut these.

        Args:
            held_out: queries that must not be trained on, beside this source's own dev queries.
        """
        self._recipe = recipe
        self._source = source
        self._embed = embed
        self._rng = rng
        self._name = collection.name
        self._queries = collection.queries
        self._documents = _sample_documents(collection, source.num_documents, rng)
        self._judgements = {
            query_id: answers
            for query_id, grades in collection.judgements.items()
            if (answers := {key: grades[key] for key in grades if self._is_answer(key, grades)})
        }
        query_ids = list(self._judgements)
        rng.shuffle(query_ids)
        self._dev_ids = query_ids[: source.num_dev_queries]
        self.dev_queries = {collection.queries[query_id] for query_id in self._dev_ids}
        """Their texts."""
        held_out = self.dev_queries | held_out
        self._train_ids = [
            query_id
            for query_id in query_ids[source.num_dev_queries :]
            if collection.queries[query_id] not in held_out
        ][: source.num_questions]
        self._pool = PassagePool(
            self._documents,
            source.passage_words or recipe.passage_words,
            recipe.title_share if source.title_share is None else source.title_share,
            embed,
            rng,
        )

    def train_lists(self) -> list[CandidateList]:
        """Lists for judged queries of the split, then lists for sentences of the documents.

        Raises:
            TrainingDataError: the collection has too few passages for one list.
        """
        cases = [*self._question_cases(), *self._cloze_cases()]
        ratings = self._ratings([case.query for case in cases])
        return [
            self._candidate_list(case, rating) for case, rating in zip(cases, ratings, strict=True)
        ]

    def dev_lists(self) -> list[CandidateList]:
        """Held-out queries with BM25's best whole documents, the relevant ones included."""
        depth = self._recipe.dev_candidates
        queries = [self._queries[query_id] for query_id in self._dev_ids]
        ids = list(self._documents)
        bm25 = Bm25Index([self._documents[key].full for key in ids])
        lists = []
        for query_id, ranked in zip(self._dev_ids, bm25.top(queries, depth), strict=True):
            grades = self._judgements[query_id]
            best = [ids[index] for index in ranked]
            others = [key for key in best if key not in grades][: max(0, depth - len(grades))]
            keys = [key for key in best if key in grades or key in others]
            keys += [key for key in grades if key not in best]
            lists.append(
                CandidateList(
                    self._queries[query_id],
                    [self._documents[key].full for key in keys],
                    [grades.get(key, 0) for key in keys],
                    [],
                    [],
                )
            )
        return lists

    def _ratings(self, queries: list[str]) -> Iterator[Rating]:
        embeddings = self._embed(queries)
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            places = slice(start, start + _QUERIES_AT_ONCE)
            yield from self._pool.rate(queries[places], embeddings[places])

    def _is_answer(self, key: str, grades: dict[str, int]) -> bool:
        return grades[key] > 0 and key in self._documents

    def _question_cases(self) -> list[_Case]:
        cases = []
        for query_id in self._train_ids:
            answers = {
                row: grade
                for key, grade in self._judgements[query_id].items()
                for row in self._pool.rows[key]
            }
            query = self._maybe_keywords(self._queries[query_id])
            cases.append(_Case(query, answers, set(answers)))
        return cases

    def _cloze_cases(self) -> list[_Case]:
        """Queries that are a sentence of one passage; the document's other passages answer them.

        After the inverse cloze task: Lee et al., "Latent Retrieval for Weakly Supervised Open
        Domain Question Answering", ACL 2019.
        """
        frequency = Counter(
            sentence for text in self._pool.bodies for sentence in split_sentences(text)
        )
        cases: list[_Case] = []
        ids = list(self._documents)
        for index in self._rng.permutation(len(ids)):
            if len(cases) == self._source.num_cloze:
                break
            rows = self._pool.rows[ids[index]]
            asked = rows[int(self._rng.integers(len(rows)))]
            usable = [
                sentence
                for sentence in split_sentences(self._pool.bodies[asked])
                if _MIN_CLOZE_WORDS <= len(sentence.split()) <= _MAX_CLOZE_WORDS
                and frequency[sentence] == 1
            ]
            if len(rows) < 2 or not usable:
                continue
            query = self._maybe_keywords(usable[int(self._rng.integers(len(usable)))])
            answers = {row: 1 for row in rows if row != asked}
            cases.append(_Case(query, answers, set(rows)))
        return cases

    def _maybe_keywords(self, query: str) -> str:
        words = content_words(query)
        if self._rng.random() < self._recipe.keyword_share and len(words) >= 2:
            return " ".join(words)
        return query

    def _candidate_list(self, case: _Case, rating: Rating) -> CandidateList:
        """The best answer, then the recipe's numbers of each kind, random passages at the end.

        Passages that share no word with the query are where meaning alone tells the related from
        the unrelated: a list shows some of both.
        """
        recipe = self._recipe
        rows = sorted(case.answers)
        hybrid = rating.teacher_logits(rows, recipe.cosine_temperature, recipe.bm25_temperature)
        answer = rows[int(hybrid.argmax())]
        chosen = [answer]
        others = sorted(set(rows) - {answer}, key=lambda row: float(rating.bm25[row]))
        chosen += others[: recipe.num_siblings]
        taken = case.siblings | self._unjudged_answers(answer, rating)
        wordless = np.where(rating.bm25 < _WORDLESS_BM25, rating.cosines, np.float32(0))
        for scores, count in (
            (rating.bm25, recipe.num_bm25),
            (rating.cosines, recipe.num_dense),
            (wordless, recipe.num_wordless),
        ):
            drawn = self._draw_high(scores, count, taken)
            chosen += drawn
            taken.update(drawn)
        chosen += self._draw_any(recipe.num_candidates - len(chosen), taken)
        grade = case.answers[answer] if self._source.judged else 0
        return CandidateList(
            case.query,
            [self._pool.texts[row] for row in chosen],
            [grade] + [0] * (len(chosen) - 1),
            _rounded(rating.cosines[chosen]),
            _rounded(rating.bm25[chosen]),
        )

    def _unjudged_answers(self, answer: int, rating: Rating) -> set[int]:
        margin = self._source.unjudged_margin
        if margin is None:
            return set()
        above = rating.cosines > rating.cosines[answer] + np.float32(margin)
        return set(np.flatnonzero(above).tolist())

    def _draw_any(self, count: int, taken: set[int]) -> list[int]:
        num_passages = len(self._pool.texts)
        if num_passages - len(taken) < count:
            raise TrainingDataError(
                f"collection {self._name!r} has {num_passages} passages in use, of which "
                f"{len(taken)} are answers of one query or in its list already; the list needs "
                f"{count} others: lower the numbers of candidates, raise the source's "
                "num_documents, or give a larger collection"
            )
        drawn: list[int] = []
        while len(drawn) < count:
            row = int(self._rng.integers(num_passages))
            if row not in taken:
                drawn.append(row)
                taken.add(row)
        return drawn

    def _draw_high(self, scores: Scores, count: int, taken: set[int]) -> list[int]:
        """Rows among the `mining_depth` best, half of the draws from the first eighth of them."""
        depth = min(self._recipe.mining_depth + len(taken), len(scores))
        best = np.argpartition(scores, len(scores) - depth)[len(scores) - depth :]
        order = best[np.argsort(-scores[best], kind="stable")]
        order = order[scores[order] > 0]
        rows = [row for row in order.tolist() if row not in taken]
        head = rows[: max(count, self._recipe.mining_depth // 8)]
        drawn = self._drawn(head, (count + 1) // 2)
        return drawn + self._drawn([row for row in rows if row not in drawn], count - len(drawn))

    def _drawn(self, rows: list[int], count: int) -> list[int]:
        if not rows:
            return []
        return [int(row) for row in self._rng.choice(rows, min(count, len(rows)), replace=False)]


def _rounded(scores: Scores) -> list[float]:
    values: npt.NDArray[np.float64] = scores.astype(np.float64)
    return [round(float(value), 4) for value in values]


def _sample_documents(
    collection: Collection, num_documents: int, rng: np.random.Generator
) -> dict[str, CollectionDocument]:
    """Whole titles at a time, so that BM25 still finds hard negatives of the same article."""
    if num_documents <= 0 or num_documents >= len(collection.documents):
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
