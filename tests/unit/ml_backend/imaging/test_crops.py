"""A crop is the square around a box, at the resolution of the image."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.crops import MARGIN, cut_square


@given(
    st.integers(20, 60), st.integers(20, 60), st.integers(1, 24), st.integers(1, 24), st.booleans()
)
def test_a_crop_is_square_and_has_the_box_in_its_middle(
    left: int, top: int, width: int, height: int, odd: bool
) -> None:
    """A single bright pixel in the middle of the box is in the middle of the crop."""
    width, height = (2 * side + odd for side in (width, height))
    pixels = np.zeros((140, 140, 3), np.uint8)
    y, x = top + height // 2, left + width // 2
    pixels[y - (not odd) : y + 1, x - (not odd) : x + 1] = 200
    crop = cut_square(pixels, np.array([left, top, left + width, top + height]))
    side = round(MARGIN * max(width, height))
    assert crop.shape == (side, side, 3)
    lit = np.argwhere(crop[..., 0] > 40)
    assert np.allclose(lit.mean(axis=0), (side - 1) / 2, atol=0.5)


def test_beyond_the_image_its_border_goes_on() -> None:
    pixels = np.full((30, 30, 3), 90, np.uint8)
    assert (cut_square(pixels, np.array([0, 0, 6, 28])) == 90).all()
    assert cut_square(pixels, np.array([29.9, 29.9, 30, 30])).shape == (1, 1, 3)
