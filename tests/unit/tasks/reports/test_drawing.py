"""Boxes, letters and scale bars on pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.reports.drawing import PAPER, draw_box, draw_letter, draw_scale_bar, load_font


def test_the_font_has_what_scales_and_names_need() -> None:
    missing = bytes(load_font(20).getmask("\u0378"))
    assert all(bytes(load_font(20).getmask(letter)) != missing for letter in "aµäéß–…×ΩЖ")


@pytest.mark.parametrize("solid", [True, False])
def test_a_box_is_drawn_at_its_place(solid: bool) -> None:
    picture = Image.new("RGB", (100, 80))
    draw_box(picture, (20, 30, 70, 60), "#FF0000", solid, 3)
    rows, columns = np.nonzero(np.asarray(picture)[..., 0])
    assert abs(columns.min() - 20) <= 1 and abs(columns.max() - 70) <= 1
    assert abs(rows.min() - 30) <= 1 and abs(rows.max() - 60) <= 1
    upper = np.asarray(picture)[30, 20:71, 0] > 0
    assert upper.all() == solid and upper[0] and upper[-1]


@given(st.floats(0.05, 4), st.floats(0.05, 5))
def test_a_scale_bar_is_of_a_round_length_and_at_most_a_fifth_of_the_picture(
    scale: float, pixel_size: float
) -> None:
    picture = Image.new("RGB", (1400, 300), (90, 0, 0))
    draw_scale_bar(picture, scale, pixel_size)
    bar = (np.asarray(picture)[300 - 12 - 2] == PAPER).all(axis=1).sum()
    microns = (bar - 1) / scale * pixel_size
    assert 0.2 * 280 <= bar - 1 <= 280 + 1
    powers = np.log10(microns / np.array([1, 2, 5]))
    # Exact up to the rounding to whole pixels at both ends.
    assert np.abs(powers - np.round(powers)).min() < np.log10(1 + 3 / bar)


def test_a_letter_lies_on_a_white_square() -> None:
    picture = Image.new("RGB", (60, 60), (9, 9, 9))
    draw_letter(picture, 10, 10, "A", 30)
    square = np.asarray(picture)[10:41, 10:41]
    assert (
        (square[0] == 255).all() and (square < 60).any() and (np.asarray(picture)[:10] == 9).all()
    )
