"""Working ahead keeps the order, and the windows' boxes come back in px of their plane."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.learners.detector.inference import Detector
from ml_backend.learners.model_file import ModelCard
from tasks.detection.window_detector import (
    AHEAD,
    NO_DETECTIONS,
    PlaneDetections,
    detect_windows,
    map_ahead,
    remember_complete,
)
from tasks.review.checkpoint import Checkpoint
from tests.blobs import Blobs

CARD = ModelCard("yolov5n", ("Cell", "Other"), ("Cell",), 1.0, 0.3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=4 * AHEAD))
def test_what_is_done_ahead_comes_in_order(items: list[int]) -> None:
    def act(item: int) -> int:
        time.sleep(item / 2000)
        return -item

    assert list(map_ahead(items, act)) == [(item, -item) for item in items]


def test_no_more_is_begun_than_may_be_ahead() -> None:
    begun = 0

    def items() -> Iterator[int]:
        nonlocal begun
        while begun < 100:
            begun += 1
            yield begun

    assert next(map_ahead(items(), str)) == (1, "1")
    assert begun <= AHEAD + 1


def test_an_error_is_raised_in_its_place() -> None:
    def act(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        return item

    results = map_ahead(range(9), act)
    assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
    with pytest.raises(ValueError, match="3"):
        next(results)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 900), st.integers(0, 900)),
        min_size=1,
        max_size=5,
    )
)
def test_boxes_come_back_where_they_are_in_the_plane(
    places: list[tuple[int, int, int, int]],
) -> None:
    """Every window shows one bright square of 12 px somewhere."""

    def looks() -> Iterator[tuple[int, tuple[int, int, int, int], np.ndarray]]:
        for number, (x, y, left, top) in enumerate(places):
            pixels = np.zeros((96, 96, 3), np.uint8)
            pixels[y : y + 12, x : x + 12] = 230
            yield number, (left, top, left + 96, top + 96), pixels

    found = list(detect_windows(Detector(CARD, Blobs()), looks()))
    assert [whose for whose, _, _ in found] == list(range(len(places)))
    for (x, y, left, top), (_, view, detections) in zip(places, found, strict=True):
        assert view == (left, top, left + 96, top + 96)
        assert detections.view.tolist() == [list(view)]
        box = [left + x, top + y, left + x + 12, top + y + 12]
        assert np.abs(detections.xyxy - box).max() <= 1


def test_what_could_not_be_read_is_not_remembered(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "scan.sqlite")
    whole = PlaneDetections(0, 0, 9, 9, NO_DETECTIONS)
    remember_complete(checkpoint, "whole", [whole])
    remember_complete(
        checkpoint, "part", [whole, PlaneDetections(1, 0, 9, 9, NO_DETECTIONS, "cut")]
    )
    assert checkpoint.recall("whole") is not None and checkpoint.recall("part") is None
    checkpoint.close()
