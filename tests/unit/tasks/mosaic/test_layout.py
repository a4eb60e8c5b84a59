"""Where tiles lie is known from files: from the option, and from OME metadata of a stage."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from ml_backend.imaging.decode import UnreadableImage
from tasks.mosaic.layout import Layout
from tasks.sources.scan_source import ScanSource, SourceOptions

WIDTH, HEIGHT = 80, 60


def place(folder: Path, **options: int) -> tuple[dict[tuple[int, int], tuple[int, int]], str]:
    source = ScanSource(folder, SourceOptions(**options))  # type: ignore[arg-type]
    (group,) = source.groups
    tiles = Layout(source).place_tiles(group)
    assert {(tile.width, tile.height) for tile in tiles} == {(WIDTH, HEIGHT)}
    return {(tile.row, tile.column): (tile.x, tile.y) for tile in tiles}, source.notes[-1]


def test_a_given_overlap_places_the_tiles(tmp_path: Path) -> None:
    for row in (1, 2):
        for column in (1, 2):
            pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.imwrite(str(tmp_path / f"s_r{row}_c{column}.png"), pixels)
    places, note = place(tmp_path, tile_overlap=10)
    assert places == {(0, 0): (0, 0), (0, 1): (70, 0), (1, 0): (0, 50), (1, 1): (70, 50)}
    assert note.endswith("tiles overlap by 10 px")


def test_the_stage_of_ome_files_places_the_tiles(tmp_path: Path) -> None:
    for row in (1, 2):
        for column in (1, 2):
            tifffile.imwrite(
                tmp_path / f"s_r{row}_c{column}.ome.tif",
                np.zeros((HEIGHT, WIDTH), np.uint8),
                metadata={
                    "axes": "YX",
                    **{"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"},
                    **{"PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"},
                    "Plane": {"PositionX": [column * 33.0], "PositionY": [row * 24.0]},
                },
            )
    places, note = place(tmp_path)
    assert places == {(0, 0): (0, 0), (0, 1): (66, 0), (1, 0): (0, 48), (1, 1): (66, 48)}
    assert "by their metadata, tiles share 14 px across and 12 px down" in note


def test_tiles_of_which_none_can_be_read_are_refused(tmp_path: Path) -> None:
    for column in (1, 2):
        (tmp_path / f"s_r1_c{column}.png").write_bytes(b"nothing")
    with pytest.raises(UnreadableImage, match="none of its tiles can be read"):
        place(tmp_path)
