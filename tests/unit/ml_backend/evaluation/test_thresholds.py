"""The chosen threshold has next to the highest F1."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.evaluation.matching import MatchedDetections
from ml_backend.evaluation.thresholds import choose_threshold


def matched(confidence: np.ndarray, hit: np.ndarray, truths: int) -> MatchedDetections:
    order = np.argsort(-confidence)
    hits = np.tile(hit[order], (10, 1))
    group = np.zeros(len(order), int)
    return MatchedDetections(
        confidence[order], group, hits, np.zeros_like(hits), np.array([truths])
    )


def compute_f1(boxes: MatchedDetections, threshold: float) -> float:
    counted = boxes.confidence >= threshold
    return 2 * boxes.hit[0][counted].sum() / (counted.sum() + boxes.truths.sum())


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_much_better(seed: int) -> None:
    random = np.random.default_rng(seed)
    hit = random.random(400) < 0.3
    confidence = np.clip(random.normal(np.where(hit, 0.7, 0.4), 0.15), 0.01, 0.99)
    boxes = matched(confidence, hit, int(hit.sum()) + 20)
    best = max(compute_f1(boxes, threshold) for threshold in confidence)
    assert compute_f1(boxes, choose_threshold([boxes])) > best - 0.02


def test_where_right_and_wrong_are_far_apart_it_lies_between() -> None:
    boxes = matched(np.array([0.9] * 20 + [0.3] * 20), np.repeat([True, False], 20), 20)
    assert 0.4 < choose_threshold([boxes]) < 0.8


def test_a_class_without_a_true_box_does_not_count() -> None:
    boxes = matched(np.array([0.9] * 20 + [0.3] * 20), np.repeat([True, False], 20), 20)
    absent = matched(np.array([0.6]), np.array([False]), 0)
    assert choose_threshold([boxes, absent]) == choose_threshold([boxes])
    assert choose_threshold([absent]) == pytest.approx(0.5)
