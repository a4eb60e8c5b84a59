"""Laying objects of one image into another: what was there stays, what comes is whole."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.learners.detector.training_data.augmentation import TrainingImage
from ml_backend.learners.detector.training_data.copy_paste import MARGIN, paste_objects

LIGHT = 200


def field(rng: np.random.Generator, number: int) -> TrainingImage:
    """Bright rectangles on black, some of which touch; one region is ignored."""
    height, width = (int(side) for side in rng.integers(80, 160, 2))
    pixels = np.zeros((height, width, 3), np.uint8)
    sides = rng.integers(8, 20, (number, 2))
    corners = (rng.random((number, 2)) * ([width, height] - sides)).astype(int)
    xyxy = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    for x1, y1, x2, y2 in xyxy.astype(int):
        pixels[y1:y2, x1:x2] = LIGHT
    ignored = np.array([[0, 0, 20, 20]], np.float32)
    return TrainingImage(pixels, xyxy, rng.integers(2, size=number), ignored)


def overlaps(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(((a[:2] < b[2:]) & (a[2:] > b[:2])).all())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 4))
def test_what_was_there_stays_and_what_comes_is_whole(seed: int, number: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    view, donors = field(rng, number), [field(rng, int(rng.integers(4))) for _ in range(3)]
    before = view.pixels.copy()
    made = paste_objects(view, donors, most, rng)
    assert (view.pixels == before).all()
    old = len(view.xyxy)
    assert (made.xyxy[:old] == view.xyxy).all() and (made.label[:old] == view.label).all()
    assert len(made.xyxy) == len(made.label) <= old + most
    height, width = before.shape[:2]
    untouched = np.ones((height, width), bool)
    for index in range(old, len(made.xyxy)):
        box = made.xyxy[index]
        assert (box >= 0).all() and (box <= [width, height, width, height]).all()
        others = np.delete(made.xyxy, index, axis=0)
        assert not any(overlaps(box, other) for other in [*others, *view.ignored])
        x1, y1, x2, y2 = box.astype(int)
        middle = made.pixels[(y1 + y2) // 2, (x1 + x2) // 2]
        assert (middle >= LIGHT - 2).all()
        reach = int(np.ceil(MARGIN * (box[2:] - box[:2]).max())) + 2
        cv2.rectangle(
            mask := np.zeros((height, width), np.uint8),
            (x1 - reach, y1 - reach),
            (x2 + reach, y2 + reach),
            1,
            -1,
        )
        untouched &= mask == 0
    assert (made.pixels[untouched] == before[untouched]).all()


def test_objects_do_come() -> None:
    rng = np.random.default_rng(0)
    empty = TrainingImage(
        np.zeros((200, 200, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
    )
    donor = TrainingImage(
        np.full((60, 60, 3), LIGHT, np.uint8),
        np.array([[20, 20, 40, 30]], np.float32),
        np.array([1]),
        np.zeros((0, 4), np.float32),
    )
    made = [paste_objects(empty, [donor], 3, rng) for _ in range(20)]
    assert {len(view.xyxy) for view in made} >= {1, 2, 3}
    sides = {tuple(box[2:] - box[:2]) for view in made for box in view.xyxy}
    assert sides == {(20.0, 10.0), (10.0, 20.0)}
    assert {int(label) for view in made for label in view.label} == {1}


def test_rare_ones_come_more_often() -> None:
    """By the donor's weight and by the object's; what is laid keeps its own."""
    empty = TrainingImage(
        np.zeros((200, 200, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros(0),
    )
    two = np.array([[5, 5, 20, 20], [35, 35, 50, 50]], np.float32)
    pixels, nowhere = np.full((60, 60, 3), LIGHT, np.uint8), np.zeros((0, 4), np.float32)
    donors = [
        TrainingImage(pixels, two, np.array([0, 1]), nowhere, np.array([1.0, 3.0])),
        TrainingImage(pixels, two[:1], np.array([2]), nowhere, np.array([1.0])),
    ]
    rng = np.random.default_rng(1)
    made = [paste_objects(empty, donors, 1, rng, np.array([3.0, 1.0])) for _ in range(800)]
    share = np.bincount(np.concatenate([image.label for image in made])) / len(made)
    assert np.abs(share - [3 / 16, 9 / 16, 4 / 16]).max() < 0.06
    for image in made:
        assert image.weight is not None
        assert image.weight.tolist() == [3.0 if label == 1 else 1.0 for label in image.label]
