"""How far tiles lie apart, by what two of them show."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tasks.registration import offset

WIDTH, HEIGHT = 240, 180


def pair(rng: np.random.Generator, overlap: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Two tiles side by side, the first cell in the middle of where they meet."""
    scene = np.zeros((HEIGHT, 2 * WIDTH - overlap), np.float32)
    for number in range(cells):
        x = WIDTH - overlap // 2 if number == 0 else int(rng.integers(scene.shape[1]))
        y = int(rng.integers(30, HEIGHT - 30))
        sides = (int(rng.integers(6, 13)), int(rng.integers(6, 13)))
        turn = float(rng.integers(180))
        cv2.ellipse(scene, (x, y), sides, turn, 0, 360, float(rng.integers(90, 200)), -1)
    scene = cv2.GaussianBlur(scene, (0, 0), 1.5) + 20
    first, second = scene[:, :WIDTH], scene[:, WIDTH - overlap :]
    return tuple(part + rng.normal(0, 5, part.shape) for part in (first, second))  # type: ignore


@pytest.mark.parametrize("turned", [False, True])
def test_one_cell_on_the_seam_of_abutting_tiles_is_no_overlap(turned: bool) -> None:
    rng = np.random.default_rng(0)
    apart = []
    for _ in range(20):
        a, b = pair(rng, 0, 1)
        apart.append(offset(a.T, b.T, 0) if turned else offset(a, b, 1))
    abutting = (0, WIDTH) if turned else (WIDTH, 0)
    assert apart.count(abutting) + apart.count(None) >= 18


@pytest.mark.parametrize("cells", [1, 6])
def test_a_cell_that_both_tiles_show_tells_their_overlap(cells: int) -> None:
    rng = np.random.default_rng(0)
    right = 0
    for _ in range(20):
        overlap = int(rng.integers(40, 70))
        step = offset(*pair(rng, overlap, cells), 1)
        assert step is None or abs(step[0] - (WIDTH - overlap)) <= 3
        right += step is not None
    assert right >= (18 if cells == 1 else 4)
