"""How far tiles lie apart, by what many of them show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from tasks.mosaic import cross_correlation
from tasks.mosaic.cross_correlation import Pair, measure_offset

WIDTH, HEIGHT = 240, 180
REAL = Path(__file__).parents[5] / "shared" / "data" / "mosaic" / "tiles"


def pair(rng: np.random.Generator, shared: int, cells: int, aside: int = 0) -> Pair:
    """Two tiles side by side, the first cell in the middle of where they meet."""
    scene = np.zeros((HEIGHT + abs(aside), 2 * WIDTH - shared), np.float32)
    for number in range(cells):
        x = WIDTH - shared // 2 if number == 0 else int(rng.integers(scene.shape[1]))
        y = int(rng.integers(30, HEIGHT - 30))
        sides = (int(rng.integers(6, 13)), int(rng.integers(6, 13)))
        turn = float(rng.integers(180))
        cv2.ellipse(scene, (x, y), sides, turn, 0, 360, float(rng.integers(90, 200)), -1)
    scene = cv2.GaussianBlur(scene, (0, 0), 1.5) + 20
    first, second = max(0, -aside), max(0, aside)
    left = scene[first : first + HEIGHT, :WIDTH]
    right = scene[second : second + HEIGHT, WIDTH - shared :]
    return left + rng.normal(0, 5, left.shape), right + rng.normal(0, 5, right.shape)


def test_one_cell_on_the_seam_of_abutting_tiles_is_no_overlap() -> None:
    rng = np.random.default_rng(0)
    apart = [measure_offset(lambda tiles=pair(rng, 0, 1): [tiles]) for _ in range(20)]  # type: ignore[misc]
    assert apart.count(None) >= 17


@pytest.mark.parametrize("cells", [1, 6])
def test_a_cell_that_both_tiles_show_tells_their_overlap(cells: int) -> None:
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(20):
        shared = int(rng.integers(40, 70))
        tiles = pair(rng, shared, cells)
        step = measure_offset(lambda tiles=tiles: [tiles])  # type: ignore[misc]
        assert step is None or np.abs(np.subtract(step, (WIDTH - shared, 0))).max() <= 3
        right += step is not None
    assert right >= 15


def test_pairs_together_tell_any_overlap() -> None:
    """Of eight pairs half show nothing but noise."""
    found = 0
    for seed in range(15):
        rng = np.random.default_rng(seed)
        shared, aside = int(rng.integers(12, 80)), int(rng.integers(-10, 11))
        pairs = [pair(rng, shared, 1 + number if number % 2 else 0, aside) for number in range(8)]
        if step := measure_offset(lambda pairs=pairs: pairs):  # type: ignore[misc]
            assert np.abs(np.subtract(step, (WIDTH - shared, aside))).max() <= 2
            found += 1
    assert found >= 13


def test_pairs_together_tell_that_they_abut() -> None:
    apart = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        pairs = [pair(rng, 0, 1 + number) for number in range(8)]
        apart.append(measure_offset(lambda pairs=pairs: pairs))  # type: ignore[misc]
    assert apart.count(None) >= 11


def test_large_tiles_are_told_to_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked at at a reduced scale first."""
    rng = np.random.default_rng(0)
    pairs = [pair(rng, 41, 5, 7) for _ in range(4)]
    monkeypatch.setattr(cross_correlation, "_ENOUGH", 60)
    assert measure_offset(lambda: pairs) == (WIDTH - 41, 7)


def test_the_same_dust_on_every_tile_is_no_overlap() -> None:
    rng = np.random.default_rng(0)
    dust = np.zeros((HEIGHT, WIDTH))
    for x in (40, 200):  # which would lie over each other if tiles shared 80 px
        dust[60:66, x : x + 6] = 60
    pairs = [
        (dust + rng.normal(20, 5, dust.shape), dust + rng.normal(20, 5, dust.shape))
        for _ in range(6)
    ]
    assert measure_offset(lambda: pairs) is None


def test_no_tiles_and_empty_ones_tell_nothing() -> None:
    blank = np.full((HEIGHT, WIDTH), 7.0)
    assert measure_offset(lambda: []) is None
    assert measure_offset(lambda: [(blank, blank)] * 3) is None


@pytest.mark.skipif(not REAL.is_dir(), reason="the real tiles are not beside the project")
def test_real_tiles_that_share_little_are_registered() -> None:
    """5 × 5 of phase contrast, column by column; the stage was not square to the camera."""
    tiles = [tifffile.imread(path) for path in sorted(REAL.iterdir())]
    right = measure_offset(lambda: [(tiles[n], tiles[n + 5]) for n in range(20)])
    down = measure_offset(lambda: [(tiles[n].T, tiles[n + 1].T) for n in range(25) if n % 5 < 4])
    assert right is not None and np.abs(np.subtract(right, (229, 4))).max() <= 3
    assert down is not None and np.abs(np.subtract(down, (172, -5))).max() <= 3
