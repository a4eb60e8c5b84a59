"""Planes that are read from top to bottom give the pixels of planes that are read anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.imaging.sliding_windows import halve
from tasks.readers import planes
from tasks.readers.planes import (
    CUT_OFF,
    DecodedPlane,
    PlaneReader,
    Rendering,
    ScanPlane,
    select_channel,
)


@dataclass
class ArrayPlane:
    """An array read as a file is: anywhere, or each row once, downwards."""

    pixels: np.ndarray
    anywhere: bool
    fails_at: int | None = None

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def reader(self) -> PlaneReader:
        read = 0

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            nonlocal read
            assert self.anywhere or top == read
            read = bottom
            if self.fails_at is not None and bottom > self.fails_at:
                raise OSError("cut off")
            return self.pixels[top:bottom, left:right].copy()

        return PlaneReader(self.width, self.height, rows, self.anywhere)


def make_pixels(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(width * height).integers(0, 256, (height, width, 3), np.uint8)


sides = st.integers(1, 150)
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes of rows are kept, with strips of 16 rows."""
    monkeypatch.setattr(planes, "STRIP", 16)
    return lambda size: monkeypatch.setattr(planes, "BAND_BYTES", size)


@quick
@given(width=sides, height=sides, halved=st.integers(0, 2), band=st.sampled_from([1, 10**6]))
def test_windows_are_the_pixels_in_either_order(
    small: Callable[[int], None], width: int, height: int, halved: int, band: int
) -> None:
    small(band)
    pixels = make_pixels(width, height)
    expected = halve(pixels, halved)
    for anywhere in (True, False):
        plane = ScanPlane(0, 0, ArrayPlane(pixels, anywhere))
        seen = np.zeros(expected.shape[:2], bool)
        for window in plane.read_windows(64, 12, halved):
            part = np.s_[
                window.top >> halved : (window.top >> halved) + window.pixels.shape[0],
                window.left >> halved : (window.left >> halved) + window.pixels.shape[1],
            ]
            np.testing.assert_array_equal(window.pixels, expected[part])
            seen[part] = True
        assert seen.all() and plane.failure is None


@quick
@given(data=st.data(), width=sides, height=sides, anywhere=st.booleans())
def test_parts_are_the_pixels_and_each_comes_once(
    small: Callable[[int], None], data: st.DataObject, width: int, height: int, anywhere: bool
) -> None:
    small(10**6)
    pixels = make_pixels(width, height)
    rects = []
    for _ in range(data.draw(st.integers(0, 5))):
        left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        right = data.draw(st.integers(left + 1, width))
        rects.append((left, top, right, data.draw(st.integers(top + 1, height))))
    plane = ScanPlane(0, 0, ArrayPlane(pixels, anywhere))
    places = []
    for place, part in plane.read_parts(rects):
        left, top, right, bottom = rects[place]
        np.testing.assert_array_equal(part, pixels[top:bottom, left:right])
        places.append(place)
    assert sorted(places) == list(range(len(rects))) and plane.failure is None


@pytest.mark.parametrize("anywhere", [True, False])
def test_a_file_that_is_cut_off_gives_what_comes_before_and_says_so(anywhere: bool) -> None:
    plane = ScanPlane(0, 0, ArrayPlane(make_pixels(64, 1200), anywhere, fails_at=900))
    windows = list(plane.read_windows(64, 0))
    assert (
        0
        < len(windows)
        < len(list(ScanPlane(0, 0, DecodedPlane(make_pixels(64, 1200))).read_windows(64, 0)))
    )
    assert plane.failure == CUT_OFF


def test_a_channel_is_chosen_or_the_file_refused() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert select_channel(pixels, None) is pixels
    assert select_channel(pixels, 1).tolist() == pixels[..., 1:2].tolist()
    with pytest.raises(UnreadableImage, match="there is no channel 3; it has 3, from 0 on"):
        select_channel(pixels, 3)


def test_limits_are_those_of_the_samples_type() -> None:
    rendering = Rendering(limits=(("uint16", 10.0, 900.0),))
    assert rendering.limits_of(np.dtype("uint16")) == (10.0, 900.0)
    assert rendering.limits_of(np.dtype("float32")) is None
