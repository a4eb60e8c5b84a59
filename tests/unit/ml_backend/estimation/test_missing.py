"""Missing cells: they are the total less what was found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.estimation.count import estimate_total
from ml_backend.estimation.missing import find_missing


@given(st.integers(0, 2**32), st.integers(50, 100))
def test_found_and_missing_are_the_total(seed, n) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.poisson(0.2, (2, n))
    total = estimate_total(counts, 1 / (120 - np.arange(n)), 120)
    missing = find_missing(total)
    assert missing.found + missing.missing == pytest.approx(np.maximum(total.value, counts.sum(1)))
    assert missing.interval + counts.sum(1)[:, None] == pytest.approx(total.interval)
    for limits in (missing.interval, missing.sequence):
        assert np.all(limits >= 0) and np.all(limits[:, 0] <= limits[:, 1])
    known = counts.sum(1) > 0
    for limits in (missing.share_interval, missing.share_sequence):
        assert np.all(limits[known, 0] <= missing.share[known] + 1e-9)
        assert np.all(missing.share[known] <= limits[known, 1] + 1e-9)
        assert np.all(limits[known] <= 1 + 1e-9)


def test_a_full_review_misses_nothing() -> None:
    total = estimate_total(np.array([2, 0, 1]), np.array([0.2, 0.5, 1.0]), 3)
    missing = find_missing(total)
    assert missing.missing == 0 and missing.interval.tolist() == [0, 0]
    assert missing.share == 1 and missing.share_interval.tolist() == [1, 1]


def test_half_reviewed_evenly_is_half_found() -> None:
    counts = np.tile([0, 1, 0, 2], 15)
    missing = find_missing(estimate_total(counts, 1 / (120 - np.arange(60)), 120))
    assert missing.share == pytest.approx(0.5)
    assert missing.missing == pytest.approx(45)


def test_without_cells_there_is_no_share() -> None:
    missing = find_missing(estimate_total(np.zeros(3), np.array([0.3, 0.5, 1.0]), 3))
    assert np.isnan(missing.share)
