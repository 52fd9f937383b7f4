"""nDCG of held-out lists, as `zen_fast.eval` and trec_eval have it, without their packages."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DEPTH = 10


def ndcg_at_10(scores: NDArray[np.float32], grades: NDArray[np.int16]) -> float:
    """Mean nDCG@10 of lists that hold all that is relevant; a grade is its gain.

    Of candidates with equal scores the later one ranks first, which favours none that is put first.

    Args:
        scores, grades: (num_lists, num_candidates); -inf and 0 where a list has no candidate.
    """
    order = np.argsort(scores, axis=1, kind="stable")[:, ::-1]
    ranked = np.take_along_axis(grades, order, axis=1)
    found, best = (_dcg(each) for each in (ranked, -np.sort(-grades.astype(np.int64), axis=1)))
    return float(np.divide(found, best, out=np.zeros_like(found), where=best > 0).mean())


def _dcg(gains: NDArray[np.integer]) -> NDArray[np.float64]:
    depth = min(_DEPTH, gains.shape[1])
    return gains[:, :depth] @ (1.0 / np.log2(np.arange(2, depth + 2)))
