"""Paired comparisons of rankings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from zen_fast.eval.significance import compare_paired

RNG = np.random.default_rng(7)
FIRST = RNG.uniform(0, 100, 60)


def test_alike_rankings_do_not_differ() -> None:
    comparison = compare_paired([(FIRST, FIRST)])
    assert (comparison.difference, comparison.low, comparison.high) == (0, 0, 0)
    assert comparison.p_value == 1


def test_interval_is_that_of_the_normal_distribution_for_many_queries() -> None:
    differences = RNG.normal(3, 10, 2000)
    comparison = compare_paired([(np.zeros(2000), differences)])
    half = 1.96 * differences.std(ddof=1) / np.sqrt(2000)
    assert comparison.difference == pytest.approx(differences.mean())
    assert comparison.low == pytest.approx(differences.mean() - half, abs=0.05)
    assert comparison.high == pytest.approx(differences.mean() + half, abs=0.05)
    assert comparison.p_value < 0.001


def test_p_value_is_the_share_of_sign_flips_that_differ_as_much() -> None:
    differences = np.array([3.0, 1.0, 4.0, -1.0, 5.0, 2.0])
    flips = np.array(list(itertools.product((-1, 1), repeat=6)))
    exact = np.mean(np.abs(flips @ differences) >= abs(differences.sum()) - 1e-9)
    comparison = compare_paired([(FIRST[:6], FIRST[:6] + differences)])
    assert comparison.p_value == pytest.approx(exact, abs=0.01)


def test_collections_weigh_alike() -> None:
    small, large = (FIRST[:5], FIRST[:5] + 4), (FIRST, FIRST - 2)
    comparison = compare_paired([small, large])
    assert comparison.difference == pytest.approx(1)
    assert (comparison.low, comparison.high) == (pytest.approx(1), pytest.approx(1))
