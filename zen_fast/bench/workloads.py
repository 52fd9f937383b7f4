"""Workloads: the requests that every engine answers, in the same order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from zen_fast.candidates import Request, answerable_queries, bm25_requests
from zen_fast.collection import Collection
from zen_fast.errors import InvalidArgumentError


@dataclass(frozen=True)
class Workload:
    """What is asked, and how often before the next engine has its turn."""

    name: str
    requests: tuple[Request, ...]
    judged: bool
    """Whether the collection's judgements say anything about these requests."""
    requests_per_turn: int = 1


def ranking(
    collection: Collection, num_requests: int, num_candidates: int, rng: random.Random
) -> Workload:
    """Sampled queries, each with its best BM25 candidates.

    A query without any relevant document says nothing about a ranking, and is not asked.

    Raises:
        InvalidArgumentError: fewer than two queries have any; the first only warms up.
    """
    query_ids = answerable_queries(collection)
    query_ids = rng.sample(query_ids, min(num_requests, len(query_ids)))
    requests = bm25_requests(collection, query_ids, num_candidates)
    if len(requests) < 2:
        raise InvalidArgumentError(
            f"{collection.name} has {len(query_ids)} queries with a relevant document in this "
            f"split, of which {len(requests)} share a word with a document; ranking needs two"
        )
    return Workload("ranking", requests, judged=True)


@dataclass(frozen=True)
class CutText:
    """Requests of known sizes, cut from a collection's running text."""

    mean_tokens: int
    """Lengths of documents are normal about this, with a quarter of it as deviation."""
    num_documents: int | None
    """None for as many as the command line says."""
    requests_per_turn: int = 1


CUT_TEXT = {
    "short": CutText(mean_tokens=75, num_documents=None),
    "long": CutText(mean_tokens=225, num_documents=None),
    "pair": CutText(mean_tokens=75, num_documents=1, requests_per_turn=20),
}
WORKLOADS = ("ranking", *CUT_TEXT)


def requests_per_turn(name: str) -> int:
    """How many requests of a workload an engine answers before the next engine's turn."""
    return CUT_TEXT[name].requests_per_turn if name in CUT_TEXT else 1


def cut_text(
    name: str,
    collection: Collection,
    tokenizer: Tokenizer,
    num_requests: int,
    num_candidates: int,
    rng: random.Random,
) -> Workload:
    """Requests of the shape CUT_TEXT[name], with the collection's queries."""
    shape = CUT_TEXT[name]
    cut = _token_cutter(collection, tokenizer, rng)
    num_documents = shape.num_documents or num_candidates
    queries = list(collection.queries.values())
    requests = []
    for index in range(num_requests):
        lengths = [
            max(1, round(rng.gauss(shape.mean_tokens, shape.mean_tokens / 4)))
            for _ in range(num_documents)
        ]
        requests.append(
            Request(
                f"{name}-{index}",
                rng.choice(queries),
                tuple(str(each) for each in range(num_documents)),
                tuple(cut(length) for length in lengths),
            )
        )
    return Workload(name, tuple(requests), False, shape.requests_per_turn)


def _token_cutter(
    collection: Collection, tokenizer: Tokenizer, rng: random.Random
) -> Callable[[int], str]:
    """A function that gives a random stretch of the collection of so many tokens."""
    texts = [document.full for document in collection.documents.values()]
    running_text = "\n".join(rng.sample(texts, len(texts)))
    offsets: Sequence[tuple[int, int]] = tokenizer.encode(
        running_text, add_special_tokens=False
    ).offsets

    def cut(num_tokens: int) -> str:
        if num_tokens > len(offsets):
            raise InvalidArgumentError(
                f"the collection {collection.name} has {len(offsets)} tokens of text; "
                f"a document of {num_tokens} was asked for"
            )
        first = rng.randrange(len(offsets) - num_tokens + 1)
        return running_text[offsets[first][0] : offsets[first + num_tokens - 1][1]]

    return cut
