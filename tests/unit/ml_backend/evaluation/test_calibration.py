"""Reliability: hand-made cases, and what must make it better or worse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.calibration import PlattScaling, fit_platt_scaling, measure_calibration
from tests.unit.ml_backend.evaluation.test_metrics import example, judge, predicted, random_case


def error(confidence, hit) -> float:
    group = np.zeros(len(hit), int)
    found = measure_calibration(np.array(confidence), np.array(hit, bool), group, np.ones((1, 1)))
    assert found.error.value is not None
    return found.error.value


def test_what_says_what_it_means_has_no_error() -> None:
    assert error([0.8] * 10, [1] * 8 + [0] * 2) == pytest.approx(0)
    assert error([1.0] * 3 + [0.0] * 4, [1] * 3 + [0] * 4) == pytest.approx(0)


def test_by_hand() -> None:
    found = measure_calibration(
        np.array([0.95, 0.85, 0.85, 0.15]),
        np.array([True, True, False, False]),
        np.array([0, 0, 1, 1]),
        np.array([[1.0, 1.0], [2.0, 0.0]]),
    )
    assert [(b.low, b.boxes, b.right) for b in found.bins] == [
        (0.1, 1, 0.0),
        (0.8, 2, 0.5),
        (0.9, 1, 1.0),
    ]
    assert [b.confidence for b in found.bins] == pytest.approx([0.15, 0.85, 0.95])
    assert found.error.value == pytest.approx((0.15 + 2 * 0.35 + 0.05) / 4)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_it_is_the_weighted_mean_over_the_bins(drawn) -> None:
    confidence, hit = [c for c, _ in drawn], [h for _, h in drawn]
    wanted = 0.0
    for number in range(10):
        inside = [
            (c, h) for c, h in zip(confidence, hit, strict=True) if min(int(c * 10), 9) == number
        ]
        if inside:
            apart = np.mean([h for _, h in inside]) - np.mean([c for c, _ in inside])
            wanted += abs(apart) * len(inside) / len(hit)
    assert error(confidence, hit) == pytest.approx(wanted)
    assert 0 <= error(confidence, hit) <= 1


def test_boasting_is_punished() -> None:
    right = [1, 0] * 20
    assert error([0.55] * 40, right) < error([0.75] * 40, right) < error([0.95] * 40, right)


def test_in_the_figures() -> None:
    figures = judge(*random_case(1, images=60), threshold=0.3)
    cells = figures.classes["Mitotic cell"]
    assert sum(b.boxes for b in figures.calibration.bins) == cells.predicted
    assert min(b.low for b in figures.calibration.bins) == pytest.approx(0.3)
    plain = figures.to_json()["calibration"]
    assert set(plain) == {"error", "error_interval", "bins"}
    assert set(plain["bins"][0]) == {"low", "high", "boxes", "confidence", "right"}
    nothing = judge([example([])], [predicted([])]).calibration
    assert nothing.error.value is None and nothing.bins == ()


scalings = st.builds(PlattScaling, slope=st.floats(0.05, 5), offset=st.floats(-5, 5))


def draw_boxes(slope: float, offset: float, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and hits whose chance is the scaling of them."""
    random = np.random.default_rng(number)
    confidence = random.uniform(0.02, 0.98, number)
    return confidence, random.random(number) < PlattScaling(slope, offset).scale(confidence)


@settings(deadline=None)
@given(scalings, st.sampled_from([0, 3, 40, 600]), st.floats(0.2, 5))
def test_the_fit_is_the_most_likely_one(
    scaling: PlattScaling, number: int, crowding: float
) -> None:
    """Also where most are sure, and wrong: steps of Newton's method alone overshoot there."""
    random = np.random.default_rng(number)
    confidence = np.clip(random.random(number) ** (1 / crowding), 1e-4, 1 - 1e-4)
    hit = random.random(number) < scaling.scale(confidence)
    fitted = fit_platt_scaling(confidence, hit)
    # The misfit is convex, so where its slope is nothing it is least.
    away = fitted.scale(confidence) - hit
    logits = np.log(confidence) - np.log(1 - confidence)
    if fitted.slope > 0.05:
        assert (away * logits).sum() + fitted.slope - 1 == pytest.approx(0, abs=1e-2)
        assert away.sum() + fitted.offset == pytest.approx(0, abs=1e-2)


def test_many_boxes_tell_the_true_scaling() -> None:
    fitted = fit_platt_scaling(*draw_boxes(0.7, 0.5, 40_000))
    assert fitted.slope == pytest.approx(0.7, abs=0.03)
    assert fitted.offset == pytest.approx(0.5, abs=0.05)


@given(scalings, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_order_is_kept_and_can_be_inverted(
    scaling: PlattScaling, confidence: list[float]
) -> None:
    scaled = scaling.scale(np.sort(confidence))
    assert (np.diff(scaled) >= 0).all() and (scaled >= 0).all() and (scaled <= 1).all()
    inner = np.clip(confidence, 0.01, 0.99)
    for value, result in zip(inner, scaling.scale(inner), strict=True):
        if 1e-5 < result < 1 - 1e-5:
            assert scaling.invert(float(result)) == pytest.approx(value, abs=1e-4)


def test_confidences_that_say_the_contrary_keep_their_order() -> None:
    confidence = np.linspace(0.05, 0.95, 200)
    assert fit_platt_scaling(confidence, confidence < 0.5).slope > 0
