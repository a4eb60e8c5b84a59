"""Images with things to be found and told apart: bright discs and crosses on a noisy ground."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes

CLASSES = ("Cross", "Disc")


def paint(path: Path, seed: int, group: str = "g", things: int = 6) -> Example:
    """A field 100 px high with things in a row, 50 px each, boxed and called by their class."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal(60, 12, (100, 20 + 50 * things, 3)).clip(0, 255).astype(np.uint8)
    rows = []
    for number in range(things):
        x, y = 30 + 50 * number, int(rng.integers(30, 70))
        name = CLASSES[int(rng.integers(2))]
        if name == "Disc":
            cv2.circle(pixels, (x, y), 14, (190, 190, 190), -1)
        else:
            cv2.line(pixels, (x - 14, y - 14), (x + 14, y + 14), (190, 190, 190), 5)
            cv2.line(pixels, (x - 14, y + 14), (x + 14, y - 14), (190, 190, 190), 5)
        rows.append((x - 17.0, y - 17.0, x + 17.0, y + 17.0, name))
    cv2.imwrite(str(path), pixels)
    return Example(path, group, Boxes.from_rows(rows))
