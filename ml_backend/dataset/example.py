"""One image with what is known about it; the unit of training and judging."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml_backend.imaging.boxes import Boxes


@dataclass(frozen=True)
class Example:
    """image: the file. group: what must stay on one side of a split (a sample, a scan).

    boxes: the truth, in pixels of the image as shown; None when nobody labelled it,
        empty when somebody looked and found nothing.
    ignored: (M, 4) float32, regions that neither count nor punish (VOC's `difficult`).
    image_label: does the image hold a headline object at all; None when not known.
    size: width and height of the image as shown, where it was opened.
    pixel_size: µm that a pixel shows, where it is known.
    deleted: (K, 4) float32, where a detector saw something and a person removed the box.
    """

    image: Path
    group: str
    boxes: Boxes | None = None
    ignored: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    image_label: bool | None = None
    size: tuple[int, int] | None = None
    pixel_size: float | None = None
    deleted: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
