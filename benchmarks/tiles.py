"""Tiles cut from labelled images, with what they show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize

WHOLE = 0.9  # of a box that is seen; smaller remnants in a tile are ignored


def renamed(boxes: Boxes) -> Boxes:
    """The boxes with the classes' own names instead of a folder's."""
    names = np.array([canonicalize(str(name)) for name in boxes.label], np.str_)
    return replace(boxes, label=names)


def shown(
    example: Example,
    path: Path,
    corner: tuple[int, int],
    size: tuple[int, int],
    *,
    turned: bool = False,
) -> Example:
    """What the tile `path` shows of an example, with the classes' own names.

    corner: left and top, size: width and height, px of the example. turned: by half a turn.
    """
    assert example.boxes is not None
    low, limit = np.tile(corner, 2), np.tile(size, 2)

    def moved(xyxy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = np.clip(xyxy - low, 0, limit)
        area = (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
        seen = (inside[:, 2:] - inside[:, :2]).prod(axis=1) / np.maximum(area, 1e-9)
        if turned:
            inside = limit - inside[:, [2, 3, 0, 1]]
        return inside.astype(np.float32), seen

    boxes, seen = moved(example.boxes.xyxy)
    ignored, ignored_seen = moved(example.ignored)
    names = renamed(example.boxes).label
    whole = seen >= WHOLE
    return Example(
        path,
        example.group,
        Boxes(boxes[whole], names[whole], example.boxes.confidence[whole]),
        np.concatenate([ignored[ignored_seen > 0], boxes[~whole & (seen > 0)]]),
    )


def background(pixels: np.ndarray, example: Example, size: tuple[int, int]) -> np.ndarray | None:
    """A tile of nothing but the background of an image (H, W, 3), of `size` (width, height) px:
    its quietest part of a quarter of each side without any box, and that mirrored.

    None where no such part is free of boxes.
    """
    assert example.boxes is not None
    width, height = size[0] // 4, size[1] // 4
    taken = np.concatenate([example.boxes.xyxy, example.ignored])
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    best: tuple[float, int, int] | None = None
    for top in range(0, grey.shape[0] - height, height // 4):
        for left in range(0, grey.shape[1] - width, width // 4):
            beside = (taken[:, :2] >= [left + width, top + height]).any(1) | (
                taken[:, 2:] <= [left, top]
            ).any(1)
            if beside.all():
                spread = float(grey[top : top + height, left : left + width].std())
                best = min(best or (np.inf, 0, 0), (spread, top, left))
    if best is None:
        return None
    _, top, left = best
    part = pixels[top : top + height, left : left + width]
    return np.pad(part, ((0, 3 * height), (0, 3 * width), (0, 0)), mode="symmetric")
