"""The chosen threshold has next to the highest F1, and luck has little part in it."""

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


def draw(seed: int, number: int, missed: int) -> MatchedDetections:
    """Boxes that are right as often as they say, and cells without a box."""
    random = np.random.default_rng(seed)
    chance = random.beta(0.6, 0.8, number)
    hit = random.random(number) < chance
    return matched(chance, hit, int(hit.sum()) + missed)


@pytest.mark.parametrize("missed", [0, 200, 2000])
def test_no_threshold_is_much_better(missed: int) -> None:
    boxes = draw(missed, 4000, missed)
    best = max(compute_f1(boxes, threshold) for threshold in np.linspace(0.01, 0.99, 99))
    assert compute_f1(boxes, choose_threshold([boxes])) > best - 0.01


def test_few_boxes_move_it_little() -> None:
    """Where the threshold of the highest F1 counted is anywhere."""
    few = [draw(seed, 40, 5) for seed in range(30)]
    chosen = [choose_threshold([boxes]) for boxes in few]
    grid = np.linspace(0.05, 0.95, 91)
    counted = [max(grid, key=lambda at: compute_f1(boxes, at)) for boxes in few]
    assert np.std(chosen) < np.std(counted) / 2
    assert abs(np.mean(chosen) - choose_threshold([draw(0, 4000, 500)])) < 0.03


def test_sure_boxes_that_are_all_there_need_a_half() -> None:
    boxes = matched(np.array([1.0] * 20 + [0.0] * 20), np.repeat([True, False], 20), 20)
    assert choose_threshold([boxes]) == pytest.approx(0.5)


def test_a_class_without_a_true_box_does_not_count() -> None:
    boxes = draw(0, 40, 0)
    absent = matched(np.array([0.6]), np.array([False]), 0)
    assert choose_threshold([boxes, absent]) == choose_threshold([boxes])
    assert 0 < choose_threshold([absent]) < 0.5
