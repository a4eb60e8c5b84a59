"""Plans: what they say beside what the next reviews then bring."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.estimation.count import estimate_total
from ml_backend.estimation.plan import plan_reviews


def test_the_planned_width_is_what_comes_on_average() -> None:
    generator = np.random.default_rng(4)
    planned, came, cells, found = [], [], [], []
    for _ in range(60):
        truth = generator.poisson(0.3, 500)
        probability = 1 / (500 - np.arange(150))
        plan = plan_reviews(truth[:100], probability[:100], 500)
        then = estimate_total(truth[:150], probability, 500)
        planned.append([plan.width_then, plan.sequence_width_then])
        came.append([np.ptp(then.interval), np.ptp(then.sequence)])
        cells.append(plan.cells)
        found.append(truth[100:150].sum())
    assert np.mean(planned, axis=0) == pytest.approx(np.mean(came, axis=0), rel=0.05)
    assert np.mean(cells) == pytest.approx(np.mean(found), rel=0.1)


@given(st.integers(0, 2**32), st.integers(2, 60), st.integers(0, 100), st.integers(1, 200))
def test_more_reviews_never_widen(seed, n, left, more) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.poisson(0.5, (3, n))
    plan = plan_reviews(counts, 1 / (n + left - np.arange(n)), n + left, more)
    assert plan.reviews == min(more, left)
    assert np.all(plan.width_then <= plan.width + 1e-6)
    assert np.all(plan.cells >= 0)
    if plan.reviews == left:
        assert plan.width_then == pytest.approx(np.zeros(3), abs=1e-6)
        assert plan.sequence_width_then == pytest.approx(np.zeros(3), abs=1e-6)


def test_too_few_to_plan_from() -> None:
    with pytest.raises(ValueError, match="two reviewed tiles"):
        plan_reviews(np.ones(1), np.ones(1) / 5, 5)
