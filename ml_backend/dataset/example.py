"""One image with what is known about it; the unit of training and judging."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ml_backend.imaging.boxes import Boxes


@dataclass(frozen=True)
class Example:
    """An image and the truth about it: boxes, choices, or both.

    Attributes:
        image: The file.
        group: What must stay on one side of a split (a sample, a scan).
        boxes: The objects, in pixels of the image as shown; None when nobody marked it, empty
            when somebody looked and found nothing.
        ignored: (M, 4) float32, regions in which nothing is judged or learned (VOC's
            `difficult`).
        image_label: Does the image hold a headline object at all; None when not known.
        size: Width and height of the image as shown, in pixels, where it was opened.
        pixel_size: µm that a pixel shows, where it is known.
        deleted: (K, 4) float32, where a detector saw something and a person removed the box.
        choices: What the image as a whole was called; None when nobody chose.
        region_choices: What each of the boxes was called beside its label, in their order; ()
            where the project has no choices for regions.
        choice_shares: Soft labels: the share of annotators who chose each class for the image,
            0..1; empty where `choices` is all that is to be learned.
    """

    image: Path
    group: str
    boxes: Boxes | None = None
    ignored: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    image_label: bool | None = None
    size: tuple[int, int] | None = None
    pixel_size: float | None = None
    deleted: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    choices: tuple[str, ...] | None = None
    region_choices: tuple[tuple[str, ...], ...] = ()
    choice_shares: Mapping[str, float] = field(default_factory=dict)
