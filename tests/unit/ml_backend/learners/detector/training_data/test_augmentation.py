"""Augmented images: boxes stay on their objects, whatever is done to the pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.learners.detector.hyperparameters import RECIPE
from ml_backend.learners.detector.preprocess import PADDING
from ml_backend.learners.detector.training_data.augmentation import (
    DELETED,
    TrainingImage,
    augment,
    transform_boxes,
)

# Nothing but geometry: the marked pixels can be found again.
PLAIN = replace(RECIPE, gain=1.0, gamma=1.0, noise=0.0, blur=0.0)
EXACT = replace(PLAIN, warp=0.0)


def view(box: tuple[int, int, int, int], size: tuple[int, int] = (90, 120)) -> TrainingImage:
    """A black field with a white rectangle, marked."""
    pixels = np.zeros((*size, 3), np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    return TrainingImage(
        pixels, np.array([box], np.float32), np.array([0]), np.zeros((0, 4), np.float32)
    )


def white(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """The frame of the white pixels, the oracle for a box."""
    x, y, width, height = cv2.boundingRect((pixels[..., 0] > 180).astype(np.uint8))
    return x, y, x + width, y + height


boxes = st.tuples(st.integers(0, 79), st.integers(0, 59), st.integers(8, 40), st.integers(8, 30))
seeds = st.integers(0, 2**32 - 1)


@given(boxes, seeds, st.sampled_from([(96, 128), (128, 96), (64, 64)]))
@settings(deadline=None, max_examples=60)
def test_what_a_person_removed_is_looked_at_as_an_object(
    box: tuple[int, int, int, int], seed: int, canvas: tuple[int, int]
) -> None:
    """It stays on its pixels; cut by an edge it is no region to be ignored."""
    x, y, width, height = box
    place = replace(view((x, y, x + width, y + height)), label=np.array([DELETED]))
    always = replace(EXACT, near=1.0)
    seen = augment(place, canvas, always, np.random.default_rng(seed))
    assert not len(seen.ignored) and (seen.label == DELETED).all()
    assert all(tuple(box) == white(seen.pixels) for box in seen.xyxy)
    # A window much smaller than the field is laid where the place is.
    small = augment(place, (32, 32), always, np.random.default_rng(seed))
    assert (small.pixels == 255).any()


@given(boxes, seeds, st.sampled_from([(96, 128), (128, 96), (64, 64)]))
@settings(deadline=None, max_examples=60)
def test_boxes_stay_on_their_pixels(
    box: tuple[int, int, int, int], seed: int, canvas: tuple[int, int]
) -> None:
    x, y, width, height = box
    seen = augment(view((x, y, x + width, y + height)), canvas, EXACT, np.random.default_rng(seed))
    assert seen.pixels.shape == (*canvas, 3)
    assert set(np.unique(seen.pixels)) <= {0, PADDING, 255}  # no pixel was blended
    if len(seen.xyxy):
        assert tuple(seen.xyxy[0]) == white(seen.pixels)
        assert not len(seen.ignored)
    elif len(seen.ignored):  # cut by the edge: too little is left to count
        assert tuple(seen.ignored[0]) == white(seen.pixels)


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_turned_discs_have_tight_boxes(seed: int) -> None:
    """The inscribed ellipse of a box is exactly a disc's outline, at any angle."""
    pixels = np.zeros((120, 120, 3), np.uint8)
    cv2.circle(pixels, (60, 60), 25, (255, 255, 255), -1)
    disc = TrainingImage(
        pixels,
        np.array([[35, 35, 86, 86]], np.float32),
        np.array([0]),
        np.zeros((0, 4), np.float32),
    )
    always = replace(PLAIN, warp=1.0, shift=0.0)
    seen = augment(disc, (256, 256), always, np.random.default_rng(seed))
    assert np.abs(seen.xyxy[0] - white(seen.pixels)).max() <= 2.5


def test_turned_boxes_are_smaller_than_around_the_corners() -> None:
    cosine = np.cos(np.pi / 4)
    turned = transform_boxes(
        np.array([[0, 0, 10, 10]], np.float32),
        np.array([[cosine, -cosine], [cosine, cosine]]),
        np.zeros(2),
    )
    assert np.allclose(turned[0, 2:] - turned[0, :2], 10)
