"""How far tiles lie apart: given, by the stage, by what they show, or not known at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.mosaic.tile_offsets import compute_offsets, measure_offsets
from tasks.sources.discover import ScanFiles, SourceFile, TileFiles

WIDTH, HEIGHT = 120, 90
ROWS, COLUMNS = 3, 4


def make_group() -> ScanFiles:
    tiles = tuple(
        TileFiles(row, column, (SourceFile(Path(), f"r{row}_c{column}.png"),))
        for row in range(ROWS)
        for column in range(COLUMNS)
    )
    return ScanFiles("slide", "slide", True, tiles)


GROUP = make_group()
PLACES = {tile.files[0]: (tile.row, tile.column) for tile in GROUP.tiles}


def read_nothing(file: SourceFile) -> None:
    return None


@given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 600))
def test_a_given_overlap_is_taken_or_refused(width: int, height: int, overlap: int) -> None:
    if overlap >= min(width, height):
        with pytest.raises(ValueError, match=f"{width} × {height} px"):
            compute_offsets(width, height, overlap)
        return
    offsets = compute_offsets(width, height, overlap)
    assert (offsets.right, offsets.down) == ((width - overlap, 0), (0, height - overlap))


@given(st.integers(70, 120), st.integers(50, 90), st.sampled_from([1, -1]))
def test_the_stage_s_positions_count_before_pixels(across: int, below: int, way: int) -> None:
    """A stage may count either way."""

    def read_stage(file: SourceFile) -> tuple[float, float]:
        row, column = PLACES[file]
        return 5000 + way * column * across + 0.2, way * row * below - 0.1

    def refuse(file: SourceFile) -> None:
        raise AssertionError("no pixels are needed")

    offsets = measure_offsets(GROUP, WIDTH, HEIGHT, refuse, read_stage)
    assert (offsets.right, offsets.down) == ((across, 0), (0, below))
    assert f"share {WIDTH - across} px across and {HEIGHT - below} px down" in offsets.words


@pytest.mark.parametrize("overlap", [(30, 20), (45, 30)])
def test_what_tiles_share_is_seen(overlap: tuple[int, int]) -> None:
    across, below = WIDTH - overlap[0], HEIGHT - overlap[1]
    random = np.random.default_rng(0)
    scene = random.normal(100, 40, ((ROWS - 1) * below + HEIGHT, (COLUMNS - 1) * across + WIDTH))

    def read_grey(file: SourceFile) -> np.ndarray:
        row, column = PLACES[file]
        y, x = row * below, column * across
        return scene[y : y + HEIGHT, x : x + WIDTH] + random.normal(0, 2, (HEIGHT, WIDTH))

    offsets = measure_offsets(GROUP, WIDTH, HEIGHT, read_grey, read_nothing)
    assert (offsets.right, offsets.down) == ((across, 0), (0, below))


def test_tiles_that_cannot_be_read_abut() -> None:
    offsets = measure_offsets(GROUP, WIDTH, HEIGHT, read_nothing, read_nothing)
    assert (offsets.right, offsets.down) == ((WIDTH, 0), (0, HEIGHT))
    assert "tiles abut" in offsets.words
