"""Areas, costs and intervals of learning curves, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ml_backend.simulation.curves import (
    Point,
    compute_area,
    estimate_mean,
    find_cost,
    summarize,
)

heights = st.lists(st.floats(0, 1), min_size=2, max_size=8)


def make_curve(*values: float, step: float = 10) -> list[Point]:
    return [Point(n, n, n, step * n, value, value, None) for n, value in enumerate(values)]


def test_area_by_hand() -> None:
    assert compute_area([0, 10, 20], [0, 1, 1], 20) == pytest.approx(0.75)
    assert compute_area([0, 10, 20], [0, 1, 1], 5) == pytest.approx(0.25)


@given(heights)
def test_area_is_a_mean(values: list[float]) -> None:
    seconds = [3.0 * n for n in range(len(values))]
    area = compute_area(seconds, values, seconds[-1])
    assert min(values) - 1e-9 <= area <= max(values) + 1e-9


@given(heights, st.floats(0.01, 1))
def test_the_cost_is_where_the_curve_gets_there(values: list[float], target: float) -> None:
    costs = [2.0 * n for n in range(len(values))]
    cost = find_cost(costs, values, target)
    if cost is None:
        assert max(values) < target
    else:
        assert np.interp(cost, costs, values) >= target - 1e-6
        assert all(value < target for c, value in zip(costs, values, strict=True) if c < cost)


def test_interval_is_students() -> None:
    values = [0.2, 0.4, 0.9, 0.5]
    mean, interval = estimate_mean(values)
    oracle = stats.ttest_1samp(values, 0).confidence_interval()
    assert mean == pytest.approx(0.5) and interval == pytest.approx((oracle.low, oracle.high))
    assert estimate_mean([0.3]) == (0.3, None)


def test_compares_seed_by_seed() -> None:
    # The second strategy is a tenth better in both seeds, which differ much more than that.
    curves = {
        "a": {0: make_curve(0, 0.2, 0.2), 1: make_curve(0, 0.8, 0.8)},
        "b": {0: make_curve(0, 0.3, 0.3), 1: make_curve(0, 0.9, 0.9, step=20)},
    }
    result = summarize(curves, {0: 0.25, 1: 0.9})
    b_a = next(d for d in result["differences"] if d["strategy"] == "b")
    assert b_a["against"] == "a" and b_a["seeds"] == 2
    # Seed 1 of b rises half as fast, and is compared until a ends, at 20 s.
    assert b_a["area"] == pytest.approx(((0.225 - 0.15) + (0.45 - 0.6)) / 2)
    # 95 % of full data: a reaches neither, b both.
    a, b = result["strategies"]["a"], result["strategies"]["b"]
    assert a["to_95"]["reached"] == 0 and a["to_95"]["seconds"] is None
    assert b["to_95"]["reached"] == 2
    assert b["to_95"]["seconds"] == pytest.approx((10 * 0.2375 / 0.3 + 20 * 0.855 / 0.9) / 2)
    assert b_a["seconds_ratio"] is None
    assert [row["f1"] for row in a["rounds"]] == pytest.approx([0, 0.5, 0.5])
    assert a["rounds"][0]["image_sensitivity"] is None
