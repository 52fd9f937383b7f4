"""Rounding a matrix for the rows that it is multiplied with, one column after another.

What rounding a column changes in the products is made up for by the columns that are not rounded
yet: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers" (ICLR 2023, arXiv 2210.17323).
"""

from __future__ import annotations

import numpy as np

from zen_fast.weights import Array

_DAMPING = 0.01
"""Of the mean second moment, added to each: texts that were not seen differ."""
_COLUMNS_AT_ONCE = 64


def round_columns(steps: Array, moments: Array, largest: int) -> Array:
    """The whole numbers near `steps` whose products differ least.

    A row's largest number becomes ±`largest`, so that it keeps the row's scale.

    Args:
        steps: (out, in) weights in units of their row's scale, the largest of each row at
            ±`largest`, or all 0.
        moments: (in, in) mean outer product of the rows that they are multiplied with.

    Returns:
        (out, in) float64.
    """
    order = np.argsort(-moments.diagonal(), kind="stable")  # what matters most has all the choice
    rest = np.ascontiguousarray(steps[:, order], np.float64)
    # Upper triangular; its row j, over its j-th number, is how later columns make up for column j.
    making_up = np.linalg.cholesky(np.linalg.inv(_damped(moments[np.ix_(order, order)]))).T
    anchors = np.abs(rest).argmax(axis=1)
    anchored = np.copysign(largest, rest[np.arange(len(rest)), anchors])
    anchored[~rest.any(axis=1)] = 0.0
    rounded = np.empty_like(rest)
    num_columns = rest.shape[1]
    for start in range(0, num_columns, _COLUMNS_AT_ONCE):
        block = slice(start, min(start + _COLUMNS_AT_ONCE, num_columns))
        errors = np.empty((len(rest), block.stop - start))
        for column in range(start, block.stop):
            nearest = np.rint(rest[:, column]).clip(-largest, largest)
            rounded[:, column] = np.where(anchors == column, anchored, nearest)
            error = (rest[:, column] - rounded[:, column]) / making_up[column, column]
            rest[:, column : block.stop] -= np.outer(error, making_up[column, column : block.stop])
            errors[:, column - start] = error
        rest[:, block.stop :] -= errors @ making_up[block, block.stop :]
    in_place: Array = np.empty_like(rounded)
    in_place[:, order] = rounded
    return in_place


def _damped(moments: Array) -> Array:
    """(in, in) float64 that can be inverted."""
    damped: Array = moments.astype(np.float64)
    diagonal = np.einsum("ii->i", damped)  # a view
    diagonal += (_DAMPING * diagonal.mean()) or 1.0
    return damped
