"""What was taken for what: held to a plain loop, to the other figures, and to a hand-made case."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.imaging.boxes import compute_iou
from tests.unit.ml_backend.evaluation.test_metrics import (
    CLASSES,
    example,
    judge,
    predicted,
    random_case,
)


def plain(truth, predictions, threshold: float) -> dict[str, dict[str, int]]:
    """The same counts, one box after the other."""
    columns, rows = (*CLASSES, "missed"), (*CLASSES, "background")
    counts = {row: dict.fromkeys(columns, 0) for row in rows}
    for marked, drawn in zip(truth, predictions, strict=True):
        left = sorted((r for r in drawn.to_rows() if r[5] >= threshold), key=lambda r: -r[5])
        free = marked.boxes.to_rows()
        for same in (True, False):
            still = []
            for box in left:
                near = [
                    (compute_iou(np.array([box[:4]]), np.array([true[:4]]))[0, 0], place)
                    for place, true in enumerate(free)
                    if (true[4] == box[4]) == same
                ]
                if near and max(near)[0] >= 0.5:
                    counts[free.pop(max(near)[1])[4]][box[4]] += 1
                else:
                    still.append(box)
            left = still
        for true in free:
            counts[true[4]]["missed"] += 1
        for box in left:
            if not any(_inside(box, region) >= 0.5 for region in marked.ignored):
                counts["background"][box[4]] += 1
    return counts


def _inside(box, region) -> float:
    width = min(box[2], region[2]) - max(box[0], region[0])
    height = min(box[3], region[3]) - max(box[1], region[1])
    return max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.mark.parametrize("seed", range(12))
def test_it_is_what_a_plain_loop_counts(seed: int) -> None:
    truth, predictions = random_case(seed)
    figures = judge(truth, predictions, threshold=0.3)
    assert figures.confusion == plain(truth, predictions, 0.3)


@pytest.mark.parametrize("seed", range(12))
def test_it_agrees_with_recall_and_precision(seed: int) -> None:
    figures = judge(*random_case(seed, images=30), threshold=0.3)
    for name, of_class in figures.classes.items():
        row = figures.confusion[name]
        assert sum(row.values()) == of_class.truths
        assert row[name] == pytest.approx((of_class.recall.value or 0) * of_class.truths)
        assert row[name] == pytest.approx((of_class.precision.value or 0) * of_class.predicted)
    assert figures.confusion["background"]["missed"] == 0


def test_by_hand() -> None:
    truth = [
        example(
            [
                (0, 0, 10, 10, "Mitotic cell"),
                (20, 0, 30, 10, "Mitotic cell"),
                (40, 0, 50, 10, "Other"),
                (60, 0, 70, 10, "Other"),
            ],
            ignored=[(0, 40, 50, 90)],
        )
    ]
    drawn = [
        predicted(
            [
                (0, 0, 10, 10, "Other", 0.9),  # surer, but the right class chooses first
                (0, 0, 10, 9, "Mitotic cell", 0.8),
                (20, 0, 30, 10, "Other", 0.7),
                (40, 0, 50, 10, "Other", 0.6),
                (80, 0, 90, 10, "Mitotic cell", 0.5),
                (10, 50, 20, 60, "Mitotic cell", 0.5),  # ignored
                (60, 0, 70, 10, "Other", 0.1),  # below the threshold
            ]
        )
    ]
    assert judge(truth, drawn).confusion == {
        "Mitotic cell": {"Mitotic cell": 1, "Other": 1, "missed": 0},
        "Other": {"Mitotic cell": 0, "Other": 1, "missed": 1},
        "background": {"Mitotic cell": 1, "Other": 1, "missed": 0},
    }


def test_classes_that_are_not_judged_are_left_out() -> None:
    figures = judge(
        [example([(0, 0, 10, 10, "Chromosomes")])],
        [predicted([(0, 0, 10, 10, "Mitotic cell", 0.9), (50, 0, 60, 10, "Other", 0.9)])],
    )
    assert figures.confusion == {
        "Mitotic cell": {"Mitotic cell": 1, "missed": 0},
        "background": {"Mitotic cell": 0, "missed": 0},
    }
