"""Images as the network sees them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.sliding_windows import halve
from ml_backend.learners.detector.preprocess import (
    PADDING,
    STRIDE,
    compute_input_size,
    count_halvings,
    prepare_input,
    resample,
)


def smooth(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


@given(st.integers(1, 200), st.integers(1, 200), st.floats(0.05, 3))
def test_any_image_becomes_an_input(height: int, width: int, scale: float) -> None:
    shape = prepare_input(np.zeros((height, width, 3), np.uint8), scale).shape
    scaled = compute_input_size(height, width, scale)
    assert shape == (*(-(-side // STRIDE) * STRIDE for side in scaled), 3)


@pytest.mark.parametrize("scale", [0.21, 0.39, 0.5, 0.8])
@pytest.mark.parametrize("size", [(520, 694), (521, 693), (520, 693)])
def test_making_smaller_is_averaging(size: tuple[int, int], scale: float) -> None:
    """Against one average over the source pixels, whatever way it goes."""
    image = smooth(*size)
    height, width = compute_input_size(*size, scale)
    at_once = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    difference = np.abs(resample(image, scale).astype(int) - at_once)
    assert difference.max() <= 6 and difference.mean() < 0.6


@pytest.mark.parametrize("scale", [0.07, 0.2, 0.25, 0.39, 0.5])
@pytest.mark.parametrize("size", [(512, 704), (513, 701)])
def test_what_was_halved_on_the_way_becomes_the_same_input(
    size: tuple[int, int], scale: float
) -> None:
    image = smooth(*size)
    times = count_halvings(scale)
    assert 0.5 < scale * 2**times <= 1
    halved = prepare_input(halve(image, times), scale, times)
    at_once = prepare_input(image, scale)
    if size == (512, 704):
        np.testing.assert_array_equal(halved, at_once)
    else:  # as if the last row and column were there twice
        rows, columns = compute_input_size(*size, scale)
        part = np.s_[: rows - 1, : columns - 1]
        assert np.abs(halved[part].astype(int) - at_once[part]).mean() < 3


def test_a_thin_line_is_dimmed_and_not_dropped() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    for column in range(3, 400, 37):
        image[:, column] = 255
    lines = (resample(image, 0.3)[60, :, 0] > 20).sum()
    assert lines >= len(range(3, 400, 37))


def test_scale_1_changes_no_pixel() -> None:
    image = smooth(70, 90)
    padded = prepare_input(image, 1.0)
    np.testing.assert_array_equal(padded[:70, :90], image)
    assert (padded[70:] == PADDING).all() and (padded[:, 90:] == PADDING).all()
