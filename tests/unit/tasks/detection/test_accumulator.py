"""What was seen in the files of a scan: in order, in its coordinates, and in little room."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.merge_detections import WindowDetections
from tasks.detection.accumulator import LOT, DetectionBuffer, ScanAccumulator
from tasks.detection.window_detector import NO_DETECTIONS, PlaneDetections
from tasks.mosaic.mosaic import PlacedTile
from tasks.readers.planes import Rendering
from tasks.sources.discover import ScanFiles, SourceFile, TileFiles

SIDE = 100
BYTES = 400  # for a file with one box, which is 100 of them


def boxes(*left: int) -> WindowDetections:
    corner = np.array(left, float).reshape(-1, 1)
    return WindowDetections(
        corner + np.array([0.0, 10, 20, 30]),
        np.array(["Cell"] * len(left), np.str_),
        np.full(len(left), 0.5, np.float32),
        np.tile(np.array([0, 0, SIDE, SIDE]), (len(left), 1)),
    )


def row_of(fields: int, planes: int) -> ScanAccumulator:
    files = tuple(SourceFile(Path(), f"{plane}.png", plane) for plane in range(planes))
    places = [PlacedTile(0, i, SIDE * i, 0, SIDE, SIDE, files) for i in range(fields)]
    spots = tuple(TileFiles(0, tile.column, files) for tile in places)
    return ScanAccumulator(ScanFiles("slide", "slide", True, spots), Rendering(), places)


@given(st.lists(st.lists(st.integers(0, 1000), max_size=3), max_size=3 * LOT))
def test_boxes_stay_in_the_order_in_which_they_came(lots: list[list[int]]) -> None:
    pile = DetectionBuffer()
    for lot in lots:
        pile.add(boxes(*lot))
    found = pile.join()
    assert found.xyxy[:, 0].tolist() == [left for lot in lots for left in lot]
    assert found.confidence.dtype == np.float32 and found.view.dtype == np.int64


def test_what_was_seen_lies_where_its_field_does_and_by_plane() -> None:
    scan = row_of(fields=2, planes=2)
    units = list(scan.list_units(together=False))
    assert scan.waiting == len(units) == 4
    for number, unit in enumerate(units):
        seen = PlaneDetections(number % 2, 0, SIDE, SIDE, boxes(number))
        assert not scan.add(unit.field, seen)
    (stack,) = scan.stacks.values()
    assert stack.tiles == 4 and not stack.list_unread()
    found = {plane: pile.join() for plane, pile in stack.buffers.items()}
    assert found[0].xyxy[:, 0].tolist() == [0, SIDE + 2]
    assert found[1].xyxy[:, 0].tolist() == [1, SIDE + 3]
    assert found[1].view[:, 0].tolist() == [0, SIDE]


def test_what_does_not_fit_is_left_out_with_the_reason() -> None:
    scan = row_of(fields=2, planes=1)
    assert "70 × 100 px, where the other tiles of the scan have 100 × 100" in scan.add(
        0, PlaneDetections(0, 0, 70, SIDE, boxes(1))
    )
    assert scan.add(1, PlaneDetections(0, 0, SIDE, SIDE, boxes(1), "cut off")) == "cut off"
    (stack,) = scan.stacks.values()
    assert scan.lost == {(0, 0), (1, 0)} and not stack.tiles and not stack.buffers


def test_a_large_scan_takes_little_more_than_its_boxes() -> None:
    scan = row_of(fields=20 * LOT, planes=1)
    tracemalloc.start()
    for place in range(len(scan.tiles)):
        scan.add(
            place, PlaneDetections(0, 0, SIDE, SIDE, boxes(place) if place % 2 else NO_DETECTIONS)
        )
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < BYTES * len(scan.tiles) / 2
