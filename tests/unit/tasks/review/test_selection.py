"""Which pictures of a scan are sent, why, and with which probability."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.imaging.merge_detections import Objects
from tasks.detection.scan_result import ScanResult
from tasks.mosaic import rect_index
from tasks.mosaic.mosaic import Mosaic, PlacedTile
from tasks.readers.planes import Rect, Rendering
from tasks.review.selection import RANDOM, Tile, View, keep_first, lay_grid, select_for_review
from tasks.sources.discover import ScanFiles, SourceFile, TileFiles

WIDTH, HEIGHT = 100, 80


def mosaic(rows: int, columns: int, width: int = WIDTH, height: int = HEIGHT) -> Mosaic:
    files = (SourceFile(Path(), "a.png"),)
    fields = [
        PlacedTile(row, column, column * width, row * height, width, height, files)
        for row in range(rows)
        for column in range(columns)
    ]
    spots = tuple(TileFiles(tile.row, tile.column, files) for tile in fields)
    group = ScanFiles("slide", "slide", rows * columns > 1, spots)
    return Mosaic(group, columns * width, rows * height, fields, Rendering(), "each")


def objects(*boxes: tuple[float, float, float, float, str, float]) -> Objects:
    return Objects(
        np.array([box[:4] for box in boxes], float).reshape(-1, 4),
        np.array([box[4] for box in boxes], np.str_),
        np.array([box[5] for box in boxes], float),
        np.zeros(len(boxes), bool),
    )


def sheet(
    scan: Mosaic, found: Objects, doubts: Objects, unread: Iterable[tuple[int, int]] = ()
) -> ScanResult:
    best = np.zeros(len(found), int)
    return ScanResult(scan, [0], len(scan.tiles), found, best, {0: found}, {0: doubts}, set(unread))


def reviewed(result: ScanResult, send: str, most: int = 1000) -> list[View]:
    return select_for_review(
        result,
        send,  # type: ignore[arg-type]
        most=most,
        headline=("Cell",),
        threshold=0.4,
        key=lambda scan, plane, tile: f"{plane} {tile.rect}",
    )


NOTHING = objects()


def test_what_was_found_is_sent_where_it_is_whole() -> None:
    found = objects(
        (10, 10, 30, 30, "Cell", 0.9),
        (90, 20, 112, 44, "Cell", 0.8),  # over the seam of two tiles
        (210, 20, 230, 40, "Other", 0.9),  # not what the project is about
    )
    sent = reviewed(sheet(mosaic(1, 3), found, NOTHING), "found")
    assert [(view.reason, view.found, view.probability) for view in sent] == [("found", 1, 1.0)] * 2
    alone, over = sent
    assert alone.tile == Tile(0, 0, (0, 0, 100, 80))
    # A piece of the cell over the seam is drawn where much of it is seen.
    assert alone.boxes.xyxy.tolist() == [[10, 10, 30, 30], [90, 20, 100, 44]]
    assert over.tile.stitched and (over.tile.row, over.tile.column, over.tile.columns) == (0, 0, 2)
    left, top, right, bottom = over.tile.rect
    assert left + 10 < 90 and right - 10 > 112 and (right - left, bottom - top) == (100, 80)


def test_a_doubt_is_nearly_found_and_the_rest_is_left_to_chance() -> None:
    doubts = objects((110, 10, 130, 30, "Cell", 0.25), (10, 10, 30, 30, "Cell", 0.1))
    scan = mosaic(30, 40)
    sent = reviewed(sheet(scan, NOTHING, doubts), "review")
    near = [view for view in sent if view.reason == "nearly found"]
    assert [view.tile.column for view in near] == [1] and near[0].probability == 1
    chance = [view for view in sent if view.reason == "at random"]
    assert len(sent) == 1 + len(chance)
    assert 0.5 * RANDOM < len(chance) / 1199 < 2 * RANDOM
    assert {view.probability for view in chance} == {RANDOM}
    again = reviewed(sheet(scan, NOTHING, doubts), "review")
    assert [view.tile for view in again] == [view.tile for view in sent]
    assert reviewed(sheet(scan, NOTHING, doubts), "found") == []


def test_all_is_all_but_what_cannot_be_read() -> None:
    sent = reviewed(sheet(mosaic(2, 3), NOTHING, NOTHING, {(4, 0)}), "all")
    assert [(view.tile.row, view.tile.column) for view in sent] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 2),
    ]  # fmt: skip


def test_a_large_image_is_cut_in_even_tiles() -> None:
    tiles, fields = lay_grid(mosaic(1, 1, 2500, 900), 1000)
    assert [tile.rect for tile in tiles] == [
        (0, 0, 833, 900), (833, 0, 1667, 900), (1667, 0, 2500, 900),
    ]  # fmt: skip
    assert fields == [0, 0, 0] and [tile.column for tile in tiles] == [0, 1, 2]
    assert [tile.rect for tile in lay_grid(mosaic(1, 1, 1990, 900), 1000)[0]] == [(0, 0, 1990, 900)]


def test_a_limit_keeps_the_lowest_scores_and_the_share_of_chance() -> None:
    scan = mosaic(10, 100)
    found = objects(*((x + 40, 30, x + 60, 50, "Cell", 0.9) for x in range(0, 10_000, 100)))
    sent = reviewed(sheet(scan, found, NOTHING), "review")
    chance = [view for view in sent if view.reason == "at random"]
    scored: list[View] = []

    def score(views: Sequence[View]) -> np.ndarray:
        scored.extend(views)
        return np.array([view.tile.column // 2 / 50 for view in views])

    kept = keep_first(sent, score, 30)
    assert len(kept) == 30
    drawn = [view for view in kept if view.reason == "at random"]
    assert len(drawn) == round(30 * len(chance) / len(sent))
    for view in drawn:
        assert view.probability == pytest.approx(RANDOM * len(drawn) / len(chance))
    columns = [view.tile.column for view in kept if view.reason == "found"]
    assert columns == list(range(30 - len(drawn)))
    # Of equal scores the first in the scan; all at once, and without the random ones.
    assert scored == [view for view in sent if view.reason == "found"]
    assert keep_first(sent, score, 10_000) == sent


@given(x=st.floats(0, 900), y=st.floats(0, 700), w=st.floats(1, 140), h=st.floats(1, 110))
def test_a_picture_around_an_object_shows_all_of_it(x: float, y: float, w: float, h: float) -> None:
    box = [x, y, min(x + w, 1000), min(y + h, 800)]
    rect: Rect = rect_index.place_view(box, (100, 80), 1000, 800, 2)
    room = 2 * 2 * rect_index.ROOM
    assert rect[2] - rect[0] == (100 if box[2] - box[0] + room <= 100 else 150)
    assert rect[3] - rect[1] == (80 if box[3] - box[1] + room <= 80 else 120)
    assert rect[0] >= 0 and rect[1] >= 0 and rect[2] <= 1000 and rect[3] <= 800
    assert rect[0] <= box[0] and rect[1] <= box[1] and rect[2] >= box[2] and rect[3] >= box[3]


@given(st.integers(0, 10**6))
def test_the_holder_is_the_view_with_most_room(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rects = [tile.rect for tile in mosaic(3, 4).tiles]
    low = rng.uniform(0, 300, (20, 2))
    boxes = np.concatenate([low, np.minimum(low + rng.uniform(5, 60, (20, 2)), [400, 240])], axis=1)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    held = rect_index.find_holders(boxes, rect_index.RectIndex(rects), 400, 240, 3)
    every = rect_index.measure_clearance(boxes, np.array(rects, float), 400, 240)
    for box, number in enumerate(held):
        assert (every[box].max() > 3) == (number >= 0)
        if number >= 0:
            assert every[box, number] == every[box].max()


@given(st.integers(0, 10**6))
def test_what_lies_under_a_rectangle_is_what_overlaps_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(-20, 200, (30, 2))
    rects = np.concatenate([low, low + rng.integers(1, 80, (30, 2))], axis=1)
    left, top = rng.integers(0, 200, 2).tolist()
    asked = left, top, left + int(rng.integers(1, 90)), top + int(rng.integers(1, 90))
    overlapping = [
        number
        for number, (x1, y1, x2, y2) in enumerate(rects.tolist())
        if x1 < asked[2] and asked[0] < x2 and y1 < asked[3] and asked[1] < y2
    ]
    assert rect_index.RectIndex(rects).find_overlapping(asked) == overlapping
    assert rect_index.RectIndex(rects, cell=7).find_overlapping(asked) == overlapping
    assert rect_index.RectIndex(rects[:0]).find_overlapping(asked) == []


def test_to_be_counted_each_tile_comes_once_and_nothing_else() -> None:
    found = objects((10, 10, 30, 30, "Cell", 0.9), (90, 20, 112, 44, "Cell", 0.8))
    sent = reviewed(sheet(mosaic(2, 3), found, NOTHING, {(4, 0)}), "tiles")
    assert [(view.tile.row, view.tile.column) for view in sent] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 2),
    ]  # fmt: skip
    assert not any(view.tile.stitched for view in sent)
