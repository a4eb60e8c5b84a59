"""Seams: what windows and planes show of random objects becomes each object once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ml_backend.imaging import merge_detections
from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.merge_detections import (
    Objects,
    WindowDetections,
    find_overlapping,
    group_pairs,
    merge_planes,
    merge_windows,
)
from ml_backend.imaging.sliding_windows import plan_spans

SIDE, OVERLAP = 512, 96
MARGIN = 2.0


def _pairs_of(number: int) -> st.SearchStrategy[list[tuple[int, int]]]:
    things = st.integers(0, number - 1)
    return st.lists(st.tuples(things, things), max_size=20)


def placed(rng: np.random.Generator, width: int, height: int, largest: float) -> np.ndarray:
    """Boxes (N, 4) that do not overlap, of every size up to `largest`; half lie on seams."""
    lines_x = np.array(plan_spans(width, SIDE, OVERLAP)).ravel()
    lines_y = np.array(plan_spans(height, SIDE, OVERLAP)).ravel()
    boxes = np.zeros((0, 4))
    for _ in range(150):
        size = np.exp(rng.uniform(np.log(8), np.log(largest), 2))
        centre = rng.uniform([0, 0], [width, height])
        on_line = rng.random(2) < 0.5
        centre = np.where(on_line, [rng.choice(lines_x), rng.choice(lines_y)], centre)
        centre = centre + rng.uniform(-0.6, 0.6, 2) * size
        box = np.concatenate([centre - size / 2, centre + size / 2])
        box = np.clip(box, 0, [width, height, width, height])
        if (box[2:] - box[:2] < 4).any():
            continue
        near = box + [-3, -3, 3, 3]
        if not len(boxes) or compute_iou(near[None], boxes).max() == 0:
            boxes = np.vstack([boxes, box])
    return boxes


def seen(
    rng: np.random.Generator, boxes: np.ndarray, width: int, height: int, jitter: float
) -> WindowDetections:
    """The boxes as a detector sees them: cut by every window, a little off, in any order."""
    parts = []
    for top, bottom in plan_spans(height, SIDE, OVERLAP):
        for left, right in plan_spans(width, SIDE, OVERLAP):
            view = np.array([left, top, right, bottom])
            cut = np.clip(boxes, view[[0, 1, 0, 1]], view[[2, 3, 2, 3]])
            there = np.flatnonzero(((cut[:, 2:] - cut[:, :2]) > 0).all(axis=1))
            noisy = cut[there] + rng.uniform(-jitter, jitter, (len(there), 4))
            noisy = np.clip(noisy, view[[0, 1, 0, 1]], view[[2, 3, 2, 3]])
            noisy[:, 2:] = np.maximum(noisy[:, 2:], noisy[:, :2])
            parts.append(
                WindowDetections(
                    noisy,
                    there % 3,
                    rng.uniform(0.3, 1, len(there)),
                    np.tile(view, (len(there), 1)),
                )
            )
    every = WindowDetections.join(parts)
    order = rng.permutation(len(every.xyxy))
    return WindowDetections(*(getattr(every, name)[order] for name in every.__dataclass_fields__))


def assert_each_once(objects: Objects, truth: np.ndarray, pixels: float = 2.0) -> np.ndarray:
    """The place in `truth` of every object."""
    apart = np.abs(objects.xyxy[:, None] - truth[None]).max(axis=2)
    match = apart.argmin(axis=1)
    assert len(objects) == len(truth)
    assert (apart.min(axis=1) <= pixels).all()
    assert len(set(match.tolist())) == len(truth)
    return match


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([60.0, 96.0, 300.0, 1500.0]))
def test_objects_of_every_size_over_seams_and_corners_are_found_once(
    seed: int, largest: float
) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(rng.integers(300, 2600)) for _ in range(2))
    truth = placed(rng, width, height, largest)
    objects = merge_windows(seen(rng, truth, width, height, 0), width, height, MARGIN)
    match = assert_each_once(objects, truth)
    assert (np.diff(objects.confidence) <= 0).all()
    assert (objects.label == match % 3).all()
    inside = (truth[:, :2] > MARGIN).all(1) & (truth[:, 2:] < [width - 2, height - 2]).all(1)
    small = ((truth[:, 2:] - truth[:, :2]) < OVERLAP - 2 * MARGIN).all(axis=1)
    np.testing.assert_array_equal(objects.partial[(inside & small)[match]], False)
    np.testing.assert_array_equal(objects.partial[~inside[match]], True)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_boxes_that_are_a_pixel_off_are_joined_all_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(rng.integers(300, 2600)) for _ in range(2))
    truth = placed(rng, width, height, OVERLAP - 8)
    truth = truth[((truth[:, 2:] - truth[:, :2]) >= 16).all(axis=1)]
    found = seen(rng, truth, width, height, 1)
    # Detectors see no slivers.
    wide = ((found.xyxy[:, 2:] - found.xyxy[:, :2]) >= 8).all(axis=1)
    kept = WindowDetections(*(getattr(found, name)[wide] for name in found.__dataclass_fields__))
    assert_each_once(merge_windows(kept, width, height, MARGIN), truth)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_an_object_over_planes_is_found_once_with_its_best_plane(seed: int, depth: int) -> None:
    rng = np.random.default_rng(seed)
    truth = placed(rng, 1500, 1500, 200)
    focus = rng.integers(0, depth, len(truth))
    planes = []
    for number in range(depth):
        away = np.abs(number - focus)
        there = np.flatnonzero((away < 4) | (rng.random(len(truth)) < 0.2))
        # Out of focus it is larger, less certain, and looks like something else.
        blur = 1 + 0.1 * np.minimum(away[there], 4)[:, None]
        size = (truth[there, 2:] - truth[there, :2]) * blur
        centre = (truth[there, 2:] + truth[there, :2]) / 2
        xyxy = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        certain = rng.uniform(0.8, 0.9, len(there)) / (1 + away[there])
        label = np.where(away[there] == 0, "Tetrad", "Triad")
        planes.append(Objects(xyxy, label, certain, np.zeros(len(there), bool)))
    objects, plane = merge_planes(planes)
    match = assert_each_once(objects, truth, 0.01)
    np.testing.assert_array_equal(plane, focus[match])
    assert (objects.label == "Tetrad").all()


@given(st.integers(0, 2**32), st.integers(0, 60), st.sampled_from([3.0, 30.0, 3000.0]))
def test_overlapping_pairs_are_those_of_trying_all(seed: int, count: int, largest: float) -> None:
    rng = np.random.default_rng(seed)
    low = np.round(rng.uniform(0, 400, (count, 2)))
    size = np.round(np.exp(rng.uniform(0, np.log(largest), (count, 2))))
    boxes = np.concatenate([low, low + size], axis=1)
    first, second = find_overlapping(boxes)
    pairs = {(min(pair), max(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(pairs) == len(first)
    a, b = np.nonzero(np.triu(compute_iou(boxes, boxes), 1))
    assert pairs == set(zip(a.tolist(), b.tolist(), strict=True))


def two(a: list[float], b: list[float], labels: tuple[int, int] = (0, 0)) -> WindowDetections:
    """A box of the left and one of the right of two windows, which share x = 80 to 120."""
    views = np.array([[0, 0, 120, 100], [80, 0, 200, 100]])
    return WindowDetections(np.array([a, b]), np.array(labels), np.array([0.9, 0.5]), views)


@pytest.mark.parametrize(
    ("a", "b", "labels", "expected", "partial"),
    [
        # Whole in both; cut in one; cut in both.
        ([90, 10, 110, 30], [90, 11, 111, 30], (0, 0), [[90, 10, 110, 30]], [False]),
        ([100, 10, 120, 30], [100, 10, 140, 30], (0, 0), [[100, 10, 140, 30]], [False]),
        ([10, 10, 120, 50], [80, 10, 190, 50], (0, 0), [[10, 10, 190, 50]], [True]),
        # The class of the whole copy counts.
        ([100, 10, 120, 30], [100, 10, 140, 30], (0, 1), [[100, 10, 140, 30]], [False]),
        # One above the other: two objects.
        (
            [90, 10, 110, 30],
            [90, 40, 110, 60],
            (0, 0),
            [[90, 10, 110, 30], [90, 40, 110, 60]],
            [False, False],
        ),
        # At the outer edge of the plane.
        (
            [0, 10, 20, 30],
            [150, 10, 170, 30],
            (0, 0),
            [[0, 10, 20, 30], [150, 10, 170, 30]],
            [1, 0],
        ),
    ],
)
def test_two_windows(
    a: list[float],
    b: list[float],
    labels: tuple[int, int],
    expected: list[list[float]],
    partial: list[bool],
) -> None:
    objects = merge_windows(two(a, b, labels), 200, 100, MARGIN)
    np.testing.assert_array_equal(objects.xyxy, expected)
    np.testing.assert_array_equal(objects.partial, np.array(partial, bool))


def test_two_boxes_of_one_window_are_never_joined() -> None:
    views = np.array([[0, 0, 120, 100], [0, 0, 120, 100], [80, 0, 200, 100]])
    xyxy = np.array([[90.0, 10, 110, 30], [92, 12, 112, 32], [91, 11, 111, 31]])
    found = WindowDetections(xyxy, np.zeros(3, int), np.array([0.9, 0.8, 0.7]), views)
    assert len(merge_windows(found, 200, 100, MARGIN)) == 2


def test_nothing_found_is_no_object() -> None:
    nothing = WindowDetections(
        np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((0, 4), int)
    )
    assert len(merge_windows(nothing, 100, 100, MARGIN)) == 0
    empty = Objects(np.zeros((0, 4)), np.zeros(0, str), np.zeros(0), np.zeros(0, bool))
    objects, plane = merge_planes([empty, empty])
    assert len(objects) == len(plane) == 0


def test_pairs_are_the_same_however_many_are_compared_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    low = rng.uniform(0, 300, (200, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 60, (200, 2))], axis=1)
    whole = find_overlapping(boxes)
    for at_once in (1, 7, 1000):
        monkeypatch.setattr(merge_detections, "AT_ONCE", at_once)
        for found, other in zip(find_overlapping(boxes), whole, strict=True):
            assert found.tolist() == other.tolist()


def test_windows_that_begin_at_one_corner_are_two_all_the_same() -> None:
    """A tile, and a larger view that begins where it does."""
    views = np.array([[0, 0, 96, 80], [0, 0, 144, 120]])
    boxes = np.array([[20, 40, 50, 80], [20, 40, 50, 95]], float)
    found = WindowDetections(boxes, np.array(["Cell", "Cell"]), np.array([0.9, 0.8]), views)
    objects = merge_windows(found, 300, 200, MARGIN)
    assert objects.xyxy.tolist() == [[20, 40, 50, 95]] and not objects.partial.any()


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), _pairs_of(n))))
def test_pairs_that_all_may_be_joined_are_the_components_of_a_graph(
    drawn: tuple[int, list[tuple[int, int]]],
) -> None:
    number, pairs = drawn
    groups, members = group_pairs(number, pairs, lambda thing: {thing}, lambda a, b: a | b)
    first, second = np.array(pairs, int).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(pairs)), (first, second)), (number, number))
    _, expected = connected_components(graph, directed=False)
    same = groups[:, None] == groups
    np.testing.assert_array_equal(same, expected[:, None] == expected)
    for leader, group in members.items():
        assert group == set(np.flatnonzero(groups == leader)) and len(group) > 1


def test_a_pair_that_a_group_refuses_is_left_out() -> None:
    pairs = [(0, 1), (1, 2), (2, 3)]
    groups, sizes = group_pairs(
        4, pairs, lambda thing: 1, lambda a, b: a + b if a + b < 3 else None
    )
    assert groups.tolist() == [0, 0, 2, 2] and sizes == {0: 2, 2: 2}
