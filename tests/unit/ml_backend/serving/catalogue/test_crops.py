"""Pictures of cells: where they lie, and that an image is fetched once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml_backend.imaging.decode import UnreadableImage, decode
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.serving.catalogue.cells import read_task_cells
from ml_backend.serving.catalogue.crops import AROUND, SIDE, Crops, cut_crop
from ml_backend.serving.catalogue.store import Catalogue, CellFilter

Make = Callable[..., dict[str, Any]]


def test_a_crop_shows_its_cell_in_the_middle() -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[100:140, 200:240] = 255
    crop = cut_crop(pixels, (200, 100, 240, 140))
    inner = round(SIDE / AROUND)
    edge = (SIDE - inner) // 2
    assert crop.shape == (SIDE, SIDE, 3)
    assert crop[edge + 3 : -edge - 3, edge + 3 : -edge - 3].min() == 255
    assert crop[: edge - 3].max() == 0 and crop[:, : edge - 3].max() == 0


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (380, 280, 400, 300), (-50, 10, -20, 40)])
def test_what_lies_beyond_the_image_is_grey(box: tuple[float, float, float, float]) -> None:
    pixels = np.zeros((300, 400, 3), np.uint8)
    crop = cut_crop(pixels, box)
    assert crop.shape == (SIDE, SIDE, 3) and set(np.unique(crop)) <= {0, 128}
    assert (crop == 128).any()


def test_all_cells_of_an_image_are_cut_at_one_fetch(
    catalogue: Catalogue, region: Make, task: Make, labels: str, version: str, tmp_path: Path
) -> None:
    shown = [region(key, x, score=0.5) for key, x in zip("abc", (10, 40, 70), strict=True)]
    row = read_task_cells(task(1, shown), {}, parse_labels(labels), version)
    catalogue.put([row], version)
    fetched = []

    def fetch(address: str) -> bytes:
        fetched.append(address)
        pixels = np.random.default_rng(0).integers(0, 255, (100, 200, 3), np.uint8)
        return cv2.imencode(".png", pixels)[1].tobytes()

    crops = Crops(tmp_path / "crops", catalogue, fetch)
    cells = catalogue.find_cells(CellFilter())
    pictures = {crops.get(cell) for cell in cells}
    assert fetched == ["1.png"] and len(pictures) == 3
    assert all(decode(picture).shape == (SIDE, SIDE, 3) for picture in pictures)
    assert catalogue.list_unseen(10) == []


def test_an_image_that_cannot_be_had_says_why(
    catalogue: Catalogue, region: Make, task: Make, labels: str, version: str, tmp_path: Path
) -> None:
    row = read_task_cells(task(1, [region("a", 10)]), {}, parse_labels(labels), version)
    catalogue.put([row], version)
    crops = Crops(tmp_path, catalogue, lambda address: UnreadableImage("the server is away"))
    with pytest.raises(UnreadableImage, match="the server is away"):
        crops.get(row.cells[0])
    broken = Crops(tmp_path, catalogue, lambda address: b"no image")
    with pytest.raises(UnreadableImage):
        broken.get(row.cells[0])
