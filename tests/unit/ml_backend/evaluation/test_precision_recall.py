"""The precision-recall curve: a plain loop as the oracle, and its place in the figures."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.evaluation.precision_recall import RECALLS, compute_precision_recall
from ml_backend.imaging.boxes import Boxes
from tests.unit.ml_backend.evaluation.test_froc import make_matched
from tests.unit.ml_backend.evaluation.test_metrics import example, judge, random_case


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), max_size=20),
    st.integers(0, 5),
)
def test_it_is_the_best_precision_at_a_recall_or_a_higher_one(boxes, missed: int) -> None:
    """Boxes: is it a hit, else is it ignored; the most confident first."""
    confidence = [1 - n / 100 for n in range(len(boxes))]
    hit = [int(hit) for hit, _ in boxes]
    ignored = [int(ignored and not hit) for hit, ignored in boxes]
    truths = sum(hit) + missed
    curve = compute_precision_recall(make_matched(confidence, hit, [truths], ignored=ignored))
    if not truths:
        assert curve == ()
        return
    counted = [found for found, out in zip(hit, ignored, strict=True) if not out]
    reached = [
        (sum(counted[:n]) / truths, sum(counted[:n]) / n) for n in range(1, len(counted) + 1)
    ]
    for point, recall in zip(curve, RECALLS, strict=True):
        best = max((p for r, p in reached if r >= recall), default=0.0)
        assert (point.recall, point.precision) == (pytest.approx(recall), pytest.approx(best))


def test_the_curve_is_the_one_behind_average_precision() -> None:
    truth, predictions = random_case(5, images=40)
    figures = judge(truth, predictions)
    curve = figures.precision_recall
    assert [point.recall for point in curve] == pytest.approx(np.linspace(0, 1, 21))
    assert all(a.precision >= b.precision for a, b in pairwise(curve))
    mean = np.mean([point.precision for point in curve])
    assert mean == pytest.approx(figures.classes["Mitotic cell"].ap50.value, abs=0.05)
    assert judge([example([])], [Boxes()]).precision_recall == ()
