"""Squares keep an image's aspect and content."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.learners.classifier.preprocess import to_square


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([96, 128, 224]))
def test_any_image_becomes_a_square(height: int, width: int, size: int) -> None:
    square = to_square(np.full((height, width, 3), 77, np.uint8), size)
    assert square.shape == (size, size, 3) and square.dtype == np.uint8
    assert (square == 77).all(), "no border of another shade"


def test_the_aspect_is_kept() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255  # a square of a tenth of the longest side
    bright = to_square(image, 100)[25:75, :, 0] > 127  # beyond lies the mirrored border
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    assert abs(len(rows) - 10) <= 1 and abs(len(columns) - 10) <= 1


def test_a_square_of_the_right_size_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    np.testing.assert_array_equal(to_square(image, 96), image)
