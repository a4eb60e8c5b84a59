"""Overviews, enlarged areas and contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tasks.reports.counts import Box, MarkedObject
from tasks.reports.pictures import (
    ACROSS,
    AREAS,
    GAP,
    THUMBNAIL,
    Canvas,
    choose_areas,
    encode_picture,
    make_contact_sheet,
)
from tasks.reports.source import Piece

CELL = "Mitotic cell"

boxes_of_a_scan = st.tuples(st.integers(0, 900), st.integers(0, 700)).map(
    lambda at: (float(at[0]), float(at[1]), at[0] + 40.0, at[1] + 30.0)
)


@given(st.lists(boxes_of_a_scan, max_size=40))
def test_enlarged_areas_lie_in_the_scan_and_apart(boxes: list[Box]) -> None:
    found = choose_areas([MarkedObject(CELL, box, None) for box in boxes], 940, 730)
    assert len(found) <= AREAS and bool(found) == bool(boxes)
    for left, top, right, bottom in found:
        assert left >= 0 and top >= 0 and right <= 940 and bottom <= 730
    for n, a in enumerate(found):
        for b in found[n + 1 :]:
            assert (
                a[2] <= b[0] + 1e-6
                or b[2] <= a[0] + 1e-6
                or a[3] <= b[1] + 1e-6
                or b[3] <= a[1] + 1e-6
            )


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.0])
def test_a_canvas_shows_the_pieces_where_they_lie(scale: float) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (80, 120, 3)).astype(np.uint8)
    canvas = Canvas((20, 20, 100, 60), scale, plane=0)
    assert canvas.pixels.shape == (40 * scale, 80 * scale, 3)
    assert not canvas.is_filled((0, 0, 120, 80))
    for left in range(0, 120, 40):
        canvas.paste(Piece(0, 0, left, 0, pixels[:, left : left + 40]))
    assert canvas.is_filled((0, 0, 120, 80))
    part = pixels[20:60, 20:100]
    if scale == 1:
        assert np.array_equal(canvas.pixels, part)
    assert canvas.pixels.mean() == pytest.approx(part.mean(), abs=2)
    assert canvas.convert_box((30, 30, 40, 50)) == tuple(v * scale for v in (10, 10, 20, 30))


def test_another_plane_fills_only_what_the_own_one_does_not() -> None:
    canvas = Canvas((0, 0, 20, 10), 1.0, plane=1)
    canvas.paste(Piece(0, 1, 0, 0, np.full((10, 10, 3), 200, np.uint8)))
    canvas.paste(Piece(0, 0, 0, 0, np.full((10, 20, 3), 9, np.uint8)))
    assert (canvas.pixels[:, :10] == 200).all() and (canvas.pixels[:, 10:] == 9).all()
    assert canvas.is_filled((0, 0, 10, 10)) and not canvas.is_filled((0, 0, 20, 10))


def test_a_contact_sheet_has_its_pictures_in_rows() -> None:
    shades = [25 * number for number in range(ACROSS + 2)]
    thumbnails = [
        (
            f"{shade}  a long name of an image",
            encode_picture(Image.new("L", (THUMBNAIL,) * 2, shade)),
        )
        for shade in shades
    ]
    sheet = np.asarray(make_contact_sheet(thumbnails))
    for number, shade in enumerate(shades):
        row, column = divmod(number, ACROSS)
        y = GAP + row * (THUMBNAIL + 30) + THUMBNAIL // 2
        x = GAP + column * (THUMBNAIL + GAP) + THUMBNAIL // 2
        assert sheet[y, x].tolist() == pytest.approx([shade] * 3, abs=2)
