"""Overlaps of boxes against counted pixels; boxes come back from rows; pairs are chosen in turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou, compute_overlap_of_smaller

SIDE = 12
corner = st.integers(0, SIDE)
box = st.tuples(corner, corner, corner, corner).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)
Box = tuple[int, int, int, int]


def fill(drawn: Box) -> np.ndarray:
    """The pixels of a box, the oracle for areas."""
    x1, y1, x2, y2 = drawn
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


@given(st.lists(box, min_size=1, max_size=5), st.lists(box, min_size=1, max_size=5))
def test_overlaps_are_those_of_the_pixels(left: list[Box], right: list[Box]) -> None:
    iou = compute_iou(np.array(left), np.array(right))
    share = compute_overlap_of_smaller(np.array(left), np.array(right))
    assert iou.shape == share.shape == (len(left), len(right))
    for i, a in enumerate(map(fill, left)):
        for j, b in enumerate(map(fill, right)):
            both, union, smaller = (a & b).sum(), (a | b).sum(), min(a.sum(), b.sum())
            assert iou[i, j] == pytest.approx(both / union if union else 0)
            assert share[i, j] == pytest.approx(both / smaller if smaller else 0)


@given(st.lists(st.tuples(corner, corner, corner, corner, st.sampled_from(["a", "bc"]))))
def test_rows_come_back(rows: list[tuple[int, int, int, int, str]]) -> None:
    boxes = Boxes.from_rows(rows)
    assert len(boxes) == len(rows)
    assert boxes.to_rows() == [(*row, 1.0) for row in rows]
    assert boxes.select(np.arange(len(rows))[::-1]).to_rows() == boxes.to_rows()[::-1]


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="equally many"):
        Boxes(np.zeros((2, 4)), np.array(["a"]), np.ones(2))


places = st.integers(0, 6)


@given(st.lists(st.tuples(places, places), max_size=30))
def test_a_pair_is_chosen_unless_an_earlier_one_has_taken_a_side(
    pairs: list[tuple[int, int]],
) -> None:
    chosen = choose_pairs(pairs)
    firsts, seconds = [i for i, _ in chosen], [j for _, j in chosen]
    assert len(set(firsts)) == len(firsts) and len(set(seconds)) == len(seconds)
    assert chosen == [pair for pair in dict.fromkeys(pairs) if pair in chosen]  # in their order
    for number, (i, j) in enumerate(pairs):
        earlier = [pair for pair in pairs[: number + 1] if pair in chosen]
        assert any(i == a or j == b for a, b in earlier)
