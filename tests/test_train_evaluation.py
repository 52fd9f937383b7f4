"""Reranking quality on a toy collection."""

import pytest

from zen_fast.collection import Collection, CollectionDocument
from zen_fast.train.evaluation import measure_reranking


@pytest.fixture
def collection() -> Collection:
    documents = {
        f"d{index}": CollectionDocument("", f"lake lake {'deep ' * index}") for index in range(4)
    }
    documents["far"] = CollectionDocument("", "nothing shared")
    return Collection(
        "toy",
        documents,
        {"q": "lake", "none": "lake"},
        {
            "q": {"d3": 1, "d0": 0},
            "none": {"d1": 0},
        },
    )


def test_measure_reranking_perfect_scores_reach_100(collection: Collection) -> None:
    quality = measure_reranking(collection, lambda _, texts: [len(text) for text in texts])
    assert quality.reranked == pytest.approx(100.0)
    assert quality.bm25 < 100.0


def test_measure_reranking_leaves_out_queries_without_relevant_documents(
    collection: Collection,
) -> None:
    quality = measure_reranking(collection, lambda _, texts: [0.0] * len(texts))
    assert quality.num_queries == 1


def test_measure_reranking_scores_only_bm25_candidates(collection: Collection) -> None:
    seen: list[str] = []

    def score(_: str, texts: list[str]) -> list[float]:
        seen.extend(texts)
        return [0.0] * len(texts)

    measure_reranking(collection, score, depth=2)
    assert len(seen) == 2
    assert "nothing shared" not in seen
