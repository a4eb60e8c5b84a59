"""A scan of tiles shows, in every part, the pixels that it was cut from."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.mosaic.layout import Layout
from tasks.mosaic.mosaic import Mosaic, find_gaps, place_tiles
from tasks.readers.planes import Rendering
from tasks.sources.scan_source import ScanSource, SourceOptions

WIDTH, HEIGHT, ROWS, COLUMNS, OVERLAP = 60, 50, 2, 3, 8
SIDES = COLUMNS * (WIDTH - OVERLAP) + OVERLAP, ROWS * (HEIGHT - OVERLAP) + OVERLAP
SCENE = np.random.default_rng(1).integers(0, 256, (SIDES[1], SIDES[0], 3), np.uint8)


def cut(folder: Path) -> None:
    for row in range(ROWS):
        for column in range(COLUMNS):
            y, x = row * (HEIGHT - OVERLAP), column * (WIDTH - OVERLAP)
            part = SCENE[y : y + HEIGHT, x : x + WIDTH, ::-1]
            cv2.imwrite(str(folder / f"s_r{row + 1}_c{column + 1}.png"), part)


def open_mosaic(folder: Path, overlap: int = OVERLAP) -> Mosaic:
    source = ScanSource(folder, SourceOptions(tile_overlap=overlap))
    (group,) = source.groups
    tiles = Layout(source).place_tiles(group)
    assert f"overlap by {overlap} px" in source.notes[-1]
    width, height = (max(tile.rect[side] for tile in tiles) for side in (2, 3))
    return Mosaic(group, width, height, tiles, Rendering(), "each", gaps=find_gaps(tiles))


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory: pytest.TempPathFactory) -> Mosaic:
    folder = tmp_path_factory.mktemp("tiles")
    cut(folder)
    return open_mosaic(folder)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_part_is_the_scene_also_opened_elsewhere(mosaic: Mosaic, data: st.DataObject) -> None:
    assert (mosaic.width, mosaic.height) == SIDES
    left, top = (data.draw(st.integers(0, side - 1)) for side in SIDES)
    right, bottom = (
        data.draw(st.integers(left + 1, SIDES[0])),
        data.draw(st.integers(top + 1, SIDES[1])),
    )
    rect = left, top, right, bottom
    expected = SCENE[top:bottom, left:right]
    ((_, pixels),) = mosaic.read_parts(0, [rect])
    np.testing.assert_array_equal(pixels, expected)
    (plane,) = mosaic.take_part(0, rect).open()
    ((_, alone),) = plane.read_parts([(0, 0, right - left, bottom - top)])
    np.testing.assert_array_equal(alone, expected)


def test_a_tile_s_own_file_is_found_where_it_shows_just_that_place(
    mosaic: Mosaic, tmp_path: Path
) -> None:
    cut(tmp_path)
    apart = open_mosaic(tmp_path, overlap=0)
    for tile in apart.tiles:
        assert apart.find_file(0, tile.rect) == tile.files[0]
    x1, y1, x2, y2 = apart.tiles[0].rect
    assert apart.find_file(0, (x1, y1, x2 - 1, y2)) is None
    assert apart.find_tiles((x2 - 1, y1, x2 + 1, y1 + 1)) == [0, 1]
    # Neighbours show a part of it too.
    assert mosaic.find_file(0, mosaic.tiles[0].rect) is None


def test_a_missing_tile_is_a_gap_and_black(tmp_path: Path) -> None:
    cut(tmp_path)
    (tmp_path / "s_r1_c2.png").unlink()
    mosaic = open_mosaic(tmp_path)
    ((gap),) = mosaic.gaps
    x, y = WIDTH - OVERLAP, HEIGHT - OVERLAP
    assert gap[0] >= x and gap[1:] == (0, gap[2], HEIGHT)
    ((_, pixels),) = mosaic.read_parts(0, [(WIDTH, 0, 2 * x, y)])
    assert not pixels.any()


def test_the_upper_left_edges_are_at_0_however_tiles_are_shifted(mosaic: Mosaic) -> None:
    tiles = place_tiles(mosaic.group, (WIDTH, HEIGHT), (52, -3), (-4, 42))
    assert min(tile.x for tile in tiles) == 0 == min(tile.y for tile in tiles)
    places = {(tile.row, tile.column): (tile.x, tile.y) for tile in tiles}
    assert np.subtract(places[0, 1], places[0, 0]).tolist() == [52, -3]
    assert np.subtract(places[1, 1], places[0, 1]).tolist() == [-4, 42]
