"""Rounding that makes up for itself: nearer products, the same scales, and nothing out of range."""

from __future__ import annotations

import numpy as np
import pytest

from zen_fast.quantization import MAX_QUANTIZED, quantize_matrix
from zen_fast.second_order import round_columns


@pytest.fixture(params=[(5, 7), (48, 64), (30, 200)], ids=str)
def weight(request: pytest.FixtureRequest) -> np.ndarray:
    weight = np.random.default_rng(0).normal(size=request.param).astype(np.float32)
    weight[2] = 0.0
    return weight


@pytest.fixture
def inputs(weight: np.ndarray) -> np.ndarray:
    """Rows that hardly leave a third of their dimensions, one of which they never enter."""
    rng = np.random.default_rng(1)
    width = weight.shape[1]
    inputs = rng.normal(size=(500, width // 3)) @ rng.normal(size=(width // 3, width))
    inputs[:, 1] = 0.0
    return inputs.astype(np.float32)


def _moments(inputs: np.ndarray) -> np.ndarray:
    return inputs.T @ inputs / np.float32(len(inputs))


@pytest.mark.parametrize("smooth", [False, True])
def test_products_are_nearer_than_with_each_weight_rounded_to_the_nearest(
    smooth: bool, weight: np.ndarray, inputs: np.ndarray
) -> None:
    exact = inputs @ weight.T
    nearest, adjusted = (
        np.square(inputs @ quantize_matrix(weight, smooth, moments).fp32().T - exact).mean()
        for moments in (None, _moments(inputs))
    )
    assert adjusted < 0.5 * nearest


def test_rows_keep_their_scales_and_zeros(weight: np.ndarray, inputs: np.ndarray) -> None:
    nearest, adjusted = (
        quantize_matrix(weight, moments=moments) for moments in (None, _moments(inputs))
    )
    np.testing.assert_array_equal(adjusted.scales, nearest.scales)
    largest = np.abs(adjusted.values).max(axis=1)
    assert set(largest.tolist()) == {0, MAX_QUANTIZED}
    assert not adjusted.values[2].any()
    again = quantize_matrix(adjusted.fp32())
    np.testing.assert_array_equal(again.values, adjusted.values)


def test_inputs_without_correlations_leave_nothing_to_make_up_for(weight: np.ndarray) -> None:
    nearest, adjusted = (
        quantize_matrix(weight, moments=moments) for moments in (None, np.eye(weight.shape[1]))
    )
    np.testing.assert_array_equal(adjusted.values, nearest.values)


def test_inputs_that_are_all_zero_are_no_error() -> None:
    steps = np.array([[63.0, 0.4, -7.6], [0.0, 0.0, 0.0]])
    rounded = round_columns(steps, np.zeros((3, 3)), 63)
    np.testing.assert_array_equal(rounded, [[63, 0, -8], [0, 0, 0]])
