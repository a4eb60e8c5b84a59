"""A version is tuned by folds, and no fold by itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Prediction
from ml_backend.learners.detector.learner import LEARNER
from ml_backend.learners.model_file import ModelCard
from ml_backend.promotion.operating_point import (
    FEWEST_OBJECTS,
    Found,
    calibrate_folds,
    tune_card,
)

CARD = ModelCard("yolov5n", ("cell",), ("cell",), 1.0, 0.25)


def make_fold(number: int, seed: int) -> list[Found]:
    """Images with one cell each, found with a confidence around 0.7, and a wrong box at 0.4."""
    random = np.random.default_rng(seed)
    cell, wrong = [10.0, 10.0, 30.0, 30.0], [60.0, 60.0, 80.0, 80.0]
    fold: list[Found] = []
    for image in range(number):
        confidence = np.clip(random.normal([0.7, 0.4], 0.1), 0.05, 0.95).astype(np.float32)
        boxes = Boxes(np.array([cell, wrong]), np.array(["cell", "cell"]), confidence)
        truth = Boxes.from_rows([(*cell, "cell")])
        example = Example(Path(f"{seed}-{image}.png"), f"g{image}", truth, size=(100, 100))
        fold.append((example, Prediction((100, 100), boxes)))
    return fold


def count_drawn(fold: list[Found], card: ModelCard) -> list[int]:
    return [int((found.boxes.confidence >= card.threshold).sum()) for _, found in fold]


def test_few_objects_change_nothing() -> None:
    folds = [make_fold(FEWEST_OBJECTS - 1, 0)]
    card = tune_card(LEARNER, CARD, folds)
    assert card == CARD
    assert calibrate_folds(LEARNER, card, folds) == folds
    assert tune_card(LEARNER, CARD, []) == CARD


def test_wrong_boxes_fall_below_the_threshold() -> None:
    folds = [make_fold(30, 0), make_fold(30, 1)]
    card = tune_card(LEARNER, CARD, folds)
    assert card.calibration is not None
    drawn = np.concatenate([count_drawn(f, card) for f in calibrate_folds(LEARNER, card, folds)])
    assert abs(drawn.mean() - 1) < 0.1  # both boxes of each image are above the recipe's
    # What it is tuned to before does not matter.
    assert tune_card(LEARNER, card, folds) == card


def test_what_a_fold_draws_does_not_depend_on_its_own_truth() -> None:
    first, second = make_fold(30, 0), make_fold(30, 1)
    blank = [(replace(example, boxes=Boxes()), found) for example, found in first]
    drawn = []
    for fold in (first, blank):
        card = tune_card(LEARNER, CARD, [fold, second])
        drawn.append(count_drawn(calibrate_folds(LEARNER, card, [fold, second])[0], card))
    assert drawn[0] == drawn[1]


def test_a_single_fold_is_calibrated_by_halves() -> None:
    fold = make_fold(40, 0)
    card = tune_card(LEARNER, CARD, [fold])
    (calibrated,) = calibrate_folds(LEARNER, card, [fold])
    assert {example.image for example, _ in calibrated} == {example.image for example, _ in fold}
