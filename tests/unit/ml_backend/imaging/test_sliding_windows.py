"""Windows: every pixel is covered, neighbours overlap, and all come in order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.sliding_windows import InMemoryPlane, plan_spans, plan_windows

sizes = st.integers(1, 300)
sides = st.integers(1, 90).flatmap(lambda side: st.tuples(st.just(side), st.integers(0, side - 1)))


@given(sizes, sides, st.sampled_from([1, 2, 4]))
def test_spans_cover_a_side_in_order(length: int, window: tuple[int, int], step: int) -> None:
    side, overlap = window
    found = plan_spans(length, side, overlap, step)
    assert found[0][0] == 0 and found[-1][1] == length
    lengths = [end - start for start, end in found]
    longest = max(side, overlap + 2 * step) if step > 1 else side
    assert max(lengths) <= longest and max(lengths) - min(lengths) < step
    assert all(start % step == 0 for start, _ in found)
    for (start, end), (next_start, next_end) in zip(found, found[1:], strict=False):
        assert start < next_start and end < next_end
        assert end - next_start >= overlap


def test_no_more_is_looked_at_twice_than_has_to_be() -> None:
    assert plan_spans(100, 60, 10) == [(0, 55), (45, 100)]
    rows, columns = plan_windows(400, 30, 100, 10)
    assert rows == [(0, 30)]
    assert columns == [(0, 88), (78, 166), (156, 244), (234, 322), (312, 400)]
    assert plan_windows(90, 40, 100, 10) == ([(0, 40)], [(0, 90)])  # no larger than a window


@given(sizes, sides, st.data())
def test_what_is_no_larger_than_the_overlap_lies_whole_in_a_window(
    length: int, window: tuple[int, int], data: st.DataObject
) -> None:
    side, overlap = window
    size = data.draw(st.integers(0, min(overlap, length)))
    start = data.draw(st.integers(0, length - size))
    assert any(
        low <= start and start + size <= high for low, high in plan_spans(length, side, overlap)
    )


@given(sizes, sizes, sides)
def test_windows_of_a_plane_are_its_pixels(
    width: int, height: int, window: tuple[int, int]
) -> None:
    side, overlap = max(window[0], 20), min(window[1], 10)
    pixels = np.arange(height * width * 3).reshape(height, width, 3).astype(np.uint8)
    seen = np.zeros((height, width), int)
    places = []
    for piece in InMemoryPlane(pixels).read_windows(side, overlap):
        rows, columns = piece.pixels.shape[:2]
        part = np.s_[piece.top : piece.top + rows, piece.left : piece.left + columns]
        np.testing.assert_array_equal(piece.pixels, pixels[part])
        seen[part] += 1
        places.append((piece.top, piece.left))
    assert (seen > 0).all() and places == sorted(places)


@pytest.mark.parametrize("overlap", [-1, 10, 11])
def test_an_overlap_that_leaves_no_step_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match="cannot share"):
        plan_spans(100, 10, overlap)
