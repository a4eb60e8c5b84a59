"""What looks alike has like features, in the starter's own network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ml_backend.demo.synthetic_images import generate_field
from ml_backend.imaging.boxes import Boxes
from ml_backend.learners.base import Picture
from ml_backend.learners.kinds import find_learner
from ml_backend.learners.model_file import FILE_NAME, read_card


def test_the_same_cell_elsewhere_is_alike(starter_versions: Path) -> None:
    folder = next(starter_versions.iterdir())
    scale = read_card(folder / FILE_NAME).scale
    field, boxes = generate_field(3, size=(700, 520), dividing=2, species="garlic-like")
    cell = boxes.xyxy[boxes.label == "Mitotic cell"][0]
    # Moved by whole strides of the input, its pixels go through the network the same way.
    shift = round(64 / scale)
    pixels = np.zeros((1040, 1388, 3), np.uint8)
    pixels[:520, :700] = field
    pixels[shift : shift + 520, 688:1388] = field
    copy = cell + np.array([688, shift, 688, shift])
    background = np.array([100, 900, 160, 960])
    marked = Boxes(np.stack([cell, copy, background]), ["c", "c", "b"], [1, 1, 1])
    nothing = Boxes()
    rows, none = find_learner("detector").describe(
        folder, [Picture(pixels), Picture(pixels)], [marked, nothing]
    )
    assert rows.dtype == np.float32 and none.shape == (0, rows.shape[1])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    alike, other = rows[0] @ rows[1], rows[0] @ rows[2]
    assert alike > 0.95 > other + 0.1
