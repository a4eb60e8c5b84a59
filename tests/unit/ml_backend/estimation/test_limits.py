"""Limits: against what normal, Student's and simulated errors do, and what must hold always."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from ml_backend.estimation.limits import (
    find_quantile,
    find_sequence_quantile,
    find_skew,
    find_variance,
    limit_share,
    limit_total,
)

amounts = st.floats(0, 1e4)


def test_quantile_of_many_equal_terms_is_the_normal_one() -> None:
    terms = np.random.default_rng(0).standard_normal(5000)
    assert find_quantile(terms) == pytest.approx(norm.ppf(0.975), rel=1e-3)


def test_few_large_terms_widen() -> None:
    even, uneven = np.ones(100), np.r_[np.full(97, 0.01), np.full(3, 5.0)]
    assert find_quantile(uneven) > 1.2 * find_quantile(even)


def test_variance_is_the_sum_of_squares() -> None:
    assert find_variance(np.array([[3.0, -4.0], [0.0, 2.0]])) == pytest.approx([25, 4])


def test_a_gaussian_walk_leaves_the_sequence_in_at_most_five_percent() -> None:
    steps = np.random.default_rng(1).standard_normal((3000, 800))
    walk = np.abs(np.cumsum(steps, axis=1)) / np.sqrt(np.arange(1, 801))
    # Of so many tiles that drawing without replacement does not matter.
    boundary = np.array([find_sequence_quantile(n, 10**9) for n in range(1, 801)])
    left = np.mean((walk > boundary).any(axis=1))
    assert 0.01 < left < 0.05
    # The classical interval, looked at as often, is left far more often.
    assert np.mean((walk[:, 49:] > 1.96).any(axis=1)) > 0.2


@given(st.integers(1, 500), st.integers(1, 500))
def test_the_sequence_is_wider_than_the_normal_interval_and_closes_at_the_end(n, more) -> None:
    assert find_sequence_quantile(n, n + more) > 1.96
    assert find_sequence_quantile(n, n) == 0


@given(amounts, amounts, amounts, st.floats(1e-3, 100), st.floats(0.1, 5), st.booleans())
def test_limits_of_a_total(value, counted, variance, jump, quantile, widest) -> None:
    low, high = limit_total(
        *map(np.asarray, (value, counted, variance, jump)), quantile, widest=widest
    )
    assert counted <= low <= max(value, counted) + 1e-6
    assert high >= max(value, counted) - 1e-6


@given(amounts, amounts, st.floats(0, 1e4), st.floats(0.1, 5))
def test_the_widest_limits_hold_the_others(value, left, variance, quantile) -> None:
    arguments = [np.asarray(number) for number in (value + left, value, variance, 1.0)]
    inner = limit_total(*arguments, quantile)
    outer = limit_total(*arguments, quantile, widest=True)
    assert outer[0] <= inner[0] + 1e-6 and inner[1] <= outer[1] + 1e-6


def test_with_much_seen_a_total_has_the_normal_interval() -> None:
    limits = limit_total(*map(np.asarray, (1e6, 0.0, 1e6, 1.0)), 1.96)
    assert limits == pytest.approx([1e6 - 1960, 1e6 + 1960], abs=5)


def test_without_variance_and_cells_to_come_there_is_no_width() -> None:
    assert limit_total(*map(np.asarray, (7.0, 7.0, 0.0, 0.0)), 1.96) == pytest.approx([7, 7])
    assert limit_share(*map(np.asarray, (0.0, 0.0, 0.0)), 1.96) == pytest.approx([0, 0])


def test_a_share_of_independent_cells_has_wilsons_interval() -> None:
    share, cells = 0.2, 500
    variance = share * (1 - share) / cells
    limits = limit_share(*map(np.asarray, (share, variance, 0.0)), norm.ppf(0.975))
    wilson = binomtest(100, cells).proportion_ci(method="wilson")
    assert limits == pytest.approx([wilson.low, wilson.high])


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-6, 1), st.floats(0.1, 5))
def test_limits_of_a_share(value, variance, jump, quantile) -> None:
    low, high = limit_share(*map(np.asarray, (value, variance, jump)), quantile)
    assert 0 <= low <= value <= high <= 1
    assert low < high


def test_the_skew_of_rare_large_terms_is_their_size() -> None:
    random = np.random.default_rng(4)
    for size in (1.0, 7.0):
        rare = size * (random.poisson(0.05, (400, 1000)) - 0.05)
        assert np.mean(find_skew(rare, np.array(0.0))) == pytest.approx(size, rel=0.05)
    assert find_skew(np.zeros(5), np.array(0.0)) == 0
    assert find_skew(-np.eye(1, 5)[0], np.array(0.0)) == 0


def test_skew_moves_the_upper_limit_alone() -> None:
    arguments = tuple(map(np.asarray, (30.0, 12.0, 25.0, 1.0)))
    plain = limit_total(*arguments, 2.0)
    skewed = limit_total(*arguments, 2.0, skew=6.0)
    assert skewed[0] == plain[0] and skewed[1] > plain[1]
    # Johnson's shift of a limit is z² skew / 3, here beyond what the count itself asks for.
    tilt = norm.ppf(0.975) ** 2 * 6 / 3
    assert skewed[1] == pytest.approx(30 + tilt + np.sqrt(4 * 25 + tilt**2))
