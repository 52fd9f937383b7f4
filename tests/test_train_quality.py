"""nDCG of held-out lists."""

import numpy as np
import pytest

from zen_fast.train.quality import ndcg_at_10


def test_ndcg_at_10_equals_ir_measures() -> None:
    metrics = pytest.importorskip("zen_fast.eval.metrics")
    pytest.importorskip("ir_measures")
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((20, 25)).astype(np.float32)
    grades = rng.choice([0, 0, 0, 0, 1, 3], (20, 25)).astype(np.int16)
    grades[:, 0] = 1
    scores[:5, 18:], grades[:5, 18:] = -np.inf, 0  # shorter lists
    numbers = range(20)
    judgements = {
        str(i): {str(j): int(grade) for j, grade in enumerate(grades[i])} for i in numbers
    }
    run = {
        str(i): {str(j): float(s) for j, s in enumerate(scores[i]) if np.isfinite(s)}
        for i in numbers
    }
    assert ndcg_at_10(scores, grades) == pytest.approx(metrics.ndcg_at_10(judgements, run))


def test_ndcg_at_10_of_equal_scores_does_not_favour_the_first() -> None:
    grades = np.array([[1, 0, 0]], np.int16)
    assert ndcg_at_10(np.zeros((1, 3), np.float32), grades) == pytest.approx(0.5)
