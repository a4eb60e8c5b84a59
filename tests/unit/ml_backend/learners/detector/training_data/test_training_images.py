"""What training sees: boxes that stay on their objects, one scale, regions that are ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.training_data.augmentation import (
    DELETED,
    TrainingImage,
)
from ml_backend.learners.detector.training_data.training_images import (
    choose_canvas,
    choose_scale,
    prepare_training_image,
    read_training_images,
)


def example(path: Path, size: tuple[int, int], boxes: Boxes) -> Example:
    cv2.imwrite(str(path), np.zeros((*size, 3), np.uint8))
    return Example(path, path.stem, boxes)


def test_scale(tmp_path: Path) -> None:
    large = Boxes.from_rows([(0, 0, 200, 200, "a")])
    small = Boxes.from_rows([(0, 0, 40, 40, "a")])
    whole = [example(tmp_path / "a.png", (960, 1280), large)]
    assert choose_scale(whole, None, RECIPE) == RECIPE.imgsz / 1280
    assert choose_scale(whole, 320, RECIPE) == 0.25
    # Small objects in a large field keep a size at which they can be told apart.
    field = [example(tmp_path / "b.png", (1500, 2560), small)]
    assert choose_scale(field, None, RECIPE) == pytest.approx(RECIPE.object_side / 40)
    # Images are not enlarged unasked, and unreadable ones have no say.
    tile = [example(tmp_path / "c.png", (48, 64), Boxes()), Example(tmp_path / "none", "n")]
    assert choose_scale(tile, None, RECIPE) == 1.0
    assert choose_scale(tile[1:], None, RECIPE) == 1.0


def test_views_follow_the_scale_and_ignore_unknown_classes(tmp_path: Path) -> None:
    marks = Boxes.from_rows([(10, 20, 50, 60, "a"), (0, 0, 10, 10, "?"), (5, 5, 5, 9, "a")])
    labelled = replace(
        example(tmp_path / "a.png", (100, 201), marks),
        ignored=np.array([[100, 0, 201, 100]], np.float32),
    )
    labelled = replace(labelled, deleted=np.array([[100, 40, 150, 80]], np.float32))
    [seen] = read_training_images([labelled], ["b", "a"], 0.5, lambda line: None)
    assert seen.pixels.shape == (50, 100, 3)
    ratio = 100 / 201  # 201 × 0.5 was rounded
    removed = [100 * ratio, 20, 150 * ratio, 40]
    assert np.allclose(seen.xyxy, [[10 * ratio, 10, 50 * ratio, 30], removed])
    assert seen.label.tolist() == [1, DELETED]
    assert np.allclose(seen.ignored, [[100 * ratio, 0, 100, 50], [0, 0, 10 * ratio, 5]])


def test_canvas_is_the_median_views_and_bounded(tmp_path: Path) -> None:
    def sized(height: int, width: int) -> TrainingImage:
        pixels = np.zeros((height, width, 3), np.uint8)
        return prepare_training_image(pixels, Example(tmp_path, "a", Boxes()), [], 1.0)

    assert choose_canvas([sized(507, 640), sized(640, 507), sized(20, 20)], 640) == (512, 640)
    assert choose_canvas([sized(3000, 4000)], 640) == (640, 640)
    assert choose_canvas([sized(20, 30)], 640) == (64, 64)
