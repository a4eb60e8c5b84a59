"""Rectangles by where they lie, against looking at every one of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tasks.mosaic.rect_index import (
    ROOM,
    RectIndex,
    clip_to_view,
    cut_evenly,
    find_holders,
    join_pieces,
    measure_clearance,
    place_view,
)

WIDTH, HEIGHT = 400, 300


@st.composite
def rectangles(draw: st.DrawFn) -> tuple[int, int, int, int]:
    left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
    return left, top, draw(st.integers(left + 1, WIDTH)), draw(st.integers(top + 1, HEIGHT))


many = st.lists(rectangles(), min_size=1, max_size=12)


def overlaps(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@given(many, rectangles(), st.sampled_from([0, 7, 1000]))
def test_what_overlaps_is_found_whatever_the_squares(
    rects: list[tuple[int, int, int, int]], asked: tuple[int, int, int, int], cell: int
) -> None:
    expected = [number for number, rect in enumerate(rects) if overlaps(rect, asked)]
    assert RectIndex(rects, cell).find_overlapping(asked) == expected


@given(many, many, st.sampled_from([0, 3, 20]))
def test_a_holder_is_the_view_in_which_a_box_is_farthest_from_the_edges(
    views: list[tuple[int, int, int, int]], boxes: list[tuple[int, int, int, int]], margin: int
) -> None:
    holders = find_holders(np.array(boxes), RectIndex(views), WIDTH, HEIGHT, margin)
    for box, holder in zip(boxes, holders.tolist(), strict=True):
        clear = [
            min(
                # An edge of the scan cuts nothing.
                (WIDTH + HEIGHT if view[0] == 0 else box[0] - view[0]),
                (WIDTH + HEIGHT if view[1] == 0 else box[1] - view[1]),
                (WIDTH + HEIGHT if view[2] == WIDTH else view[2] - box[2]),
                (WIDTH + HEIGHT if view[3] == HEIGHT else view[3] - box[3]),
            )
            for view in views
        ]
        assert measure_clearance(np.array([box]), np.array(views), WIDTH, HEIGHT).tolist() == [
            clear
        ]
        if holder < 0:
            # Only views over its middle may hold a box.
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            over = [v[0] <= x < v[2] and v[1] <= y < v[3] for v in views]
            assert all(c <= margin for c, covers in zip(clear, over, strict=True) if covers)
        else:
            assert clear[holder] > margin


@given(rectangles(), st.integers(20, 150), st.integers(20, 150), st.sampled_from([0, 2]))
def test_a_placed_view_lies_in_the_scan_and_shows_what_fits(
    box: tuple[int, int, int, int], across: int, down: int, margin: int
) -> None:
    left, top, right, bottom = place_view(box, (across, down), WIDTH, HEIGHT, margin)
    assert 0 <= left < right <= WIDTH and 0 <= top < bottom <= HEIGHT
    assert right - left in (across, across + across // 2)
    if box[2] - box[0] + 2 * ROOM * margin + 2 <= across:
        assert left <= box[0] and box[2] <= right
    if box[3] - box[1] + 2 * ROOM * margin + 2 <= down:
        assert top <= box[1] and box[3] <= bottom


@given(st.integers(1, 5000), st.integers(1, 900))
def test_a_side_is_cut_into_as_few_equal_parts_as_can_be(length: int, most: int) -> None:
    parts = cut_evenly(length, most)
    sizes = [end - start for start, end in parts]
    assert parts[0][0] == 0 and parts[-1][1] == length
    assert all(a[1] == b[0] for a, b in zip(parts, parts[1:], strict=False))
    assert len(parts) == -(-length // most) and max(sizes) <= most
    assert max(sizes) - min(sizes) <= 1


@given(many, rectangles())
def test_a_clipped_box_and_its_share_are_what_the_view_shows(
    boxes: list[tuple[int, int, int, int]], view: tuple[int, int, int, int]
) -> None:
    clipped, share = clip_to_view(np.array(boxes, float), view)
    scan = np.zeros((HEIGHT, WIDTH), bool)
    scan[view[1] : view[3], view[0] : view[2]] = True
    for box, shown, part in zip(boxes, clipped.tolist(), share.tolist(), strict=True):
        inside = scan[box[1] : box[3], box[0] : box[2]]
        assert part * inside.size == np.float64(inside.sum()).round() or np.isclose(
            part * inside.size, inside.sum()
        )
        assert 0 <= shown[0] <= shown[2] <= view[2] - view[0]
        assert 0 <= shown[1] <= shown[3] <= view[3] - view[1]


def test_pieces_of_an_object_are_joined_and_others_are_not() -> None:
    pieces = np.array([[90, 40, 100, 60], [101, 41, 112, 59], [200, 200, 220, 220]], float)
    frames = join_pieces(pieces, 1, (100, 80))
    assert sorted(frames.tolist()) == [[90, 40, 112, 60], [200, 200, 220, 220]]
