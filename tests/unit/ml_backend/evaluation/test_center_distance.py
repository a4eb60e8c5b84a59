"""Matching by the distance of centres: held to a plain loop, and to laws."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.center_distance import match_centres
from ml_backend.evaluation.froc import compute_froc
from ml_backend.evaluation.matching import match_images

NONE = np.zeros((0, 4))


def square(x: float, y: float, side: float = 10) -> list[float]:
    return [x - side / 2, y - side / 2, x + side / 2, y + side / 2]


def hits(predicted, truth, radius: float, ignored=NONE) -> list[bool]:
    hit, _ = match_centres(np.array(predicted), np.array(truth), ignored, radius)
    return hit[0].tolist()


points = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


@settings(deadline=None)
@given(points, points, st.integers(1, 30), st.integers(2, 40))
def test_it_is_what_a_plain_loop_finds(predicted, truth, radius: int, side: int) -> None:
    free, wanted = list(truth), []
    for x, y in predicted:
        near = sorted(((x - a) ** 2 + (y - b) ** 2, place) for place, (a, b) in enumerate(free))
        found = bool(near) and near[0][0] <= radius**2
        if found:
            free.pop(near[0][1])
        wanted.append(found)
    # How large the boxes are does not matter.
    drawn = [square(x, y, side) for x, y in predicted] or NONE
    assert hits(drawn, [square(x, y) for x, y in truth] or NONE, radius) == wanted


def test_the_radius_itself_counts() -> None:
    assert hits([square(3, 4)], [square(0, 0)], 5) == [True]
    assert hits([square(3, 4)], [square(0, 0)], 4.99) == [False]


def test_a_cell_is_found_once_and_the_surest_chooses() -> None:
    assert hits([square(1, 0), square(0, 0)], [square(0, 0)], 5) == [True, False]


def test_a_box_that_overlaps_little_may_have_found_its_cell() -> None:
    assert hits([square(30, 30, 4)], [square(30, 30, 40)], 5) == [True]


def test_what_lies_in_an_ignored_region_does_not_count() -> None:
    region = np.array([[100.0, 100, 200, 200]])
    hit, ignored = match_centres(
        np.array([square(150, 150), square(195, 195, 40), square(205, 150)]), NONE, region, 5
    )
    assert not hit.any() and ignored[0].tolist() == [True, True, False]


def test_a_tally_by_centres_gives_a_curve() -> None:
    image = (
        np.array([square(0, 0), square(80, 80)]),
        np.array([0.5, 0.9]),
        np.array([square(2, 2, 50)]),
        NONE,
    )
    matched = match_images([image], np.array([0]), 1, partial(match_centres, radius=5))
    assert matched.hit.tolist() == [[False, True]]
    curve = compute_froc(matched, np.array([1]), np.ones((1, 1)))[0]
    assert curve == pytest.approx([0, 0, 0, 1, 1, 1, 1])
