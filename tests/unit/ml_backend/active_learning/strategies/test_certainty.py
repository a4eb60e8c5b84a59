"""What makes a task more or less certain; directions, not magic values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.certainty import measure_certainty, score_certainty
from ml_backend.imaging.boxes import Boxes

THRESHOLDS = st.floats(0.05, 0.95)
CONFIDENCES = st.lists(st.floats(0, 1, width=32), max_size=30)


def found(*confidences: float) -> Boxes:
    n = len(confidences)
    return Boxes(np.tile([0, 0, 9, 9], (n, 1)), np.full(n, "Mitotic cell"), np.array(confidences))


def test_an_empty_tile_is_certain() -> None:
    assert measure_certainty(found(), 0.3) == 1.0


def test_faint_noise_hardly_matters() -> None:
    assert measure_certainty(found(*[0.03] * 20), 0.3) > 0.9


def test_sure_cells_hardly_matter() -> None:
    assert measure_certainty(found(*[0.95] * 20), 0.3) > 0.9


@pytest.mark.parametrize("doubtful", [0.29, 0.31])
def test_one_box_near_the_threshold_is_enough(doubtful: float) -> None:
    """On either side, and however many sure boxes stand beside it."""
    assert measure_certainty(found(doubtful), 0.3) < 0.6
    assert measure_certainty(found(doubtful, *[0.98] * 10), 0.3) < 0.6


@given(THRESHOLDS, CONFIDENCES)
def test_lies_between_0_and_1(threshold: float, confidences: list[float]) -> None:
    assert 0 <= measure_certainty(found(*confidences), threshold) <= 1


@given(THRESHOLDS, CONFIDENCES, st.floats(0, 1, width=32))
def test_another_box_never_makes_a_task_more_certain(
    threshold: float, confidences: list[float], another: float
) -> None:
    assert measure_certainty(found(*confidences, another), threshold) <= measure_certainty(
        found(*confidences), threshold
    )


@given(THRESHOLDS, CONFIDENCES, st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_nearer_to_the_threshold_is_less_certain(
    threshold: float, others: list[float], a: float, b: float, above: bool
) -> None:
    near, far = sorted((a, b))
    room = 1 - threshold if above else -threshold
    nearer, farther = (threshold + share * room for share in (near, far))
    near_score, far_score = (
        measure_certainty(found(*others, c), threshold) for c in (nearer, farther)
    )
    assert near_score <= far_score + 1e-6


@given(THRESHOLDS, CONFIDENCES)
def test_the_order_of_boxes_does_not_matter(threshold: float, confidences: list[float]) -> None:
    forward, backward = found(*confidences), found(*reversed(confidences))
    assert measure_certainty(forward, threshold) == pytest.approx(
        measure_certainty(backward, threshold)
    )


def test_the_next_task_is_the_doubtful_one_and_not_the_empty_one() -> None:
    tasks = {
        "empty": found(0.02),
        "sure": found(0.9, 0.95),
        "a doubt": found(0.9, 0.4),
        "doubts": found(0.33, 0.28, 0.3),
    }
    order = sorted(tasks, key=lambda name: measure_certainty(tasks[name], 0.3))
    assert order[:2] == ["doubts", "a doubt"]


@given(THRESHOLDS, st.lists(CONFIDENCES, max_size=5))
def test_the_score_is_the_product_that_the_formula_states(
    threshold: float, tasks: list[list[float]]
) -> None:
    """Reckoned once more without numpy, box by box."""
    expected = []
    for confidences in tasks:
        product = 1.0
        for confidence in confidences:
            end = 1 if confidence >= threshold else 0
            doubt = 1 - (confidence - threshold) / (end - threshold)
            product *= 1 - doubt**3 / 2
        expected.append(product)
    candidates = [
        Candidate(str(number), found(*boxes_and_confidence))
        for number, boxes_and_confidence in enumerate(tasks)
    ]
    scores = score_certainty(candidates, Context(threshold))
    assert scores.dtype == np.float64 and scores.shape == (len(tasks),)
    assert scores == pytest.approx(expected, abs=1e-9)
