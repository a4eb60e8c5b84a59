"""Bootstrap intervals: weights, laws of undefined values, and plain resampling as the oracle."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.bootstrap import (
    FEWEST_GROUPS,
    Figure,
    average_defined,
    compute_sensitivity_at_specificity,
    divide_or_nan,
    make_bootstrap_weights,
)
from tests.unit.ml_backend.evaluation.test_metrics import (
    coco_precisions,
    judge,
    laws,
    random_case,
)


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 50))
def test_every_resample_has_as_many_groups_as_there_are(groups: int, resamples: int) -> None:
    weights = make_bootstrap_weights(groups, resamples)
    assert weights.shape == (1 + resamples, groups)
    assert (weights[0] == 1).all() and (weights.sum(axis=1) == groups).all()
    assert (weights >= 0).all() and (weights == weights.round()).all()
    assert np.array_equal(weights, make_bootstrap_weights(groups, resamples))
    with pytest.raises(ValueError, match="read-only"):
        weights[0, 0] = 2


def test_what_is_divided_by_nothing_is_undefined_and_not_averaged() -> None:
    values = divide_or_nan(np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[2.0, 0.0], [4.0, 0.0]]))
    assert values[:, 0].tolist() == [0.5, 0.75] and np.isnan(values[:, 1]).all()
    mean = average_defined(np.array([[0.5, np.nan, np.nan], [1.0, 0.25, np.nan]]))
    assert mean[:2].tolist() == [0.75, 0.25] and np.isnan(mean[2])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=60), st.integers(0, 2 * FEWEST_GROUPS))
def test_a_figure_has_an_interval_only_over_enough_groups(values: list[float], full: int) -> None:
    carriers = np.array([1] * full + [0] * 5)
    figure = Figure.from_resamples(np.array(values), carriers)
    assert figure.value == values[0]
    if full < FEWEST_GROUPS:
        assert figure.interval is None
        return
    assert figure.interval == pytest.approx(tuple(np.percentile(values[1:], [2.5, 97.5])))


def test_an_undefined_figure_has_neither_value_nor_interval() -> None:
    carriers = np.ones(FEWEST_GROUPS)
    assert Figure.from_resamples(np.array([np.nan, 0.5]), carriers) == Figure(None)
    assert Figure.from_resamples(np.array([0.5, np.nan]), carriers) == Figure(0.5)


@laws
@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_sensitivity_at_a_specificity_is_the_best_of_all_thresholds(images, specificity) -> None:
    confidence = np.array([c / 20 for c, _ in images])
    positive = np.array([p for _, p in images])
    (found,) = compute_sensitivity_at_specificity(confidence, positive, specificity)
    if positive.all() or not positive.any():
        assert np.isnan(found)
        return
    thresholds = [c for c in set(confidence) if c > 0] + [2.0]
    kept = [t for t in thresholds if (confidence[~positive] < t).mean() >= specificity - 1e-9]
    assert found == pytest.approx(max((confidence[positive] >= t).mean() for t in kept))


def test_intervals_hold_to_a_plain_bootstrap() -> None:
    truth, predictions = random_case(7, images=60)
    truth = [replace(image, group=str(i)) for i, image in enumerate(truth)]
    figures = judge(truth, predictions)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(100):
        chosen = random.integers(0, len(truth), len(truth))
        drawn.append(
            coco_precisions([truth[i] for i in chosen], [predictions[i] for i in chosen])[
                "Mitotic cell"
            ]
        )
    for column, figure in enumerate(("ap50", "ap50_95")):
        interval = getattr(figures.classes["Mitotic cell"], figure).interval
        plain = np.percentile([row[column] for row in drawn], [2.5, 97.5])
        # One bootstrap of a thousand, one of a hundred: equal within their noise.
        np.testing.assert_allclose(interval, plain, atol=0.25 * (plain[1] - plain[0]))


def test_a_thousand_resamples_take_less_than_a_second() -> None:
    truth, predictions = random_case(3, images=400)
    truth = [replace(image, group=str(i)) for i, image in enumerate(truth)]
    started = time.process_time()
    judge(truth, predictions)
    # Processor time on all cores, with room for a slow machine: about 1 s was measured.
    assert time.process_time() - started < 8
