"""Keys name what is shown, and the data of a task say where it is from."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.dataset.small_scans import ScanDivider
from ml_backend.imaging.boxes import Boxes
from ml_backend.settings import Settings
from tasks.mosaic.mosaic import Mosaic, PlacedTile
from tasks.readers.planes import Rendering
from tasks.review.selection import Tile, View, lay_grid
from tasks.review.task_metadata import TaskMetadata, make_picture_key, make_view_key
from tasks.sources.scan_source import ScanSource, SourceOptions

WIDTH, HEIGHT = 60, 50


def open_mosaic(folder: Path) -> Mosaic:
    (group,) = ScanSource(folder, SourceOptions()).groups
    tiles = [
        PlacedTile(t.row, t.column, t.column * WIDTH, t.row * HEIGHT, WIDTH, HEIGHT, t.files)
        for t in group.tiles
    ]
    return Mosaic(group, 2 * WIDTH, 2 * HEIGHT, tiles, Rendering(), "each")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "slide"
    folder.mkdir()
    for number in range(4):
        pixels = np.full((HEIGHT, WIDTH), 10 * number, np.uint8)
        cv2.imwrite(str(folder / f"s_r{number // 2}_c{number % 2}.png"), pixels)
    return folder


def make_view(mosaic: Mosaic, tile: Tile) -> View:
    boxes = Boxes(np.zeros((0, 4)), np.zeros(0, np.str_), np.zeros(0))
    return View(mosaic, 0, tile, boxes, 0, 0.02, "at random")


def test_keys_are_those_of_the_content_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    mosaic = open_mosaic(folder)
    tiles, _ = lay_grid(mosaic, 1000)
    keys = [make_view_key(make_view(mosaic, tile)) for tile in tiles]
    assert len(set(keys)) == len(tiles) == 4
    assert keys == [make_picture_key(mosaic, 0, tile) for tile in tiles]
    moved = tmp_path / "elsewhere" / "slide"
    shutil.copytree(folder, moved)
    assert keys == [make_picture_key(open_mosaic(moved), 0, tile) for tile in tiles]
    altered = tmp_path / "altered" / "slide"
    shutil.copytree(folder, altered)
    cv2.imwrite(str(altered / "s_r0_c1.png"), np.full((HEIGHT, WIDTH), 99, np.uint8))
    others = [make_picture_key(open_mosaic(altered), 0, tile) for tile in tiles]
    assert [key == other for key, other in zip(keys, others, strict=True)] == [
        *(True, False, True, True)
    ]


def test_the_data_of_a_task_say_where_its_picture_is_from(folder: Path, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", holdout_share=0.3)
    mosaic = open_mosaic(folder)
    metadata = TaskMetadata(settings, 0.25, 1000, ScanDivider(list))
    tiles, _ = lay_grid(mosaic, 1000)
    found = [metadata.make_task_data(make_view(mosaic, tile), f"key {tile.rect}") for tile in tiles]
    assert [(data["row"], data["column"]) for data in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [(data["x"], data["y"]) for data in found] == [tile.rect[:2] for tile in tiles]
    for data in found:
        assert (data["scan"], data["source"]) == (mosaic.name, mosaic.name)
        assert data["pixel_size"] == 0.25 and not data["stitched"]
        assert (data["sampling_p"], data["sampling_reason"]) == (0.02, "at random")
        assert data["split"] in ("train", "holdout", "buffer")
    assert not any("frame" in data for data in found)
    counting = TaskMetadata(settings, 0.25, 1000, ScanDivider(list), counting=True)
    data = counting.make_task_data(make_view(mosaic, tiles[0]), "first")
    assert data["frame"] == [0, 0, WIDTH - 1, HEIGHT - 1]
    seam = Tile(0, 0, (30, 0, 90, HEIGHT), 1, 2)
    data = metadata.make_task_data(make_view(mosaic, seam), "seam")
    assert data["stitched"] and (data["down"], data["across"]) == (1, 2)
