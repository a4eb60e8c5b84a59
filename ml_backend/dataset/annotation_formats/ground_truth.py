"""What people marked in an image, held against the image that is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ml_backend.dataset.annotation_formats.records import READ_ERRORS, ImageAnnotations

Row = tuple[float, float, float, float, str]


@dataclass
class GroundTruth:
    """The boxes of one image.

    Attributes:
        size: Width and height of the image as shown, px.
        rows: (x1, y1, x2, y2, label) in px, clipped to the image.
        ignored: (x1, y1, x2, y2) of the regions to be left out of training and of counting.
        faults: Why a box was left out, one entry a box.
    """

    size: tuple[int, int]
    rows: list[Row] = field(default_factory=list)
    ignored: list[tuple[float, float, float, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many boxes the file had, with those that were left out."""
        return len(self.rows) + len(self.ignored) + len(self.faults)

    def extend(self, other: GroundTruth) -> None:
        """Take over the boxes of another part of the same image's truth."""
        self.rows += other.rows
        self.ignored += other.ignored
        self.faults += other.faults


def fit_to_image(image: ImageAnnotations, size: tuple[int, int]) -> GroundTruth:
    """Read the boxes of an image and clip them to it; a bad one is listed, the others stay.

    Args:
        image: What a file has about the image.
        size: Width and height of the image as shown, px.

    Returns:
        The boxes, with a fault for each that cannot be read, has no area or no label, or
        lies outside the image.

    Raises:
        ValueError: The file was made for an image of another size.
    """
    check_size(image.size, size)
    truth = GroundTruth(size)
    for entry in image.entries:
        try:
            annotation = image.read_box(entry)
            box = annotation.box
            x1, x2 = (min(max(x, 0.0), float(size[0])) for x in (box.xmin, box.xmax))
            y1, y2 = (min(max(y, 0.0), float(size[1])) for y in (box.ymin, box.ymax))
            label = str(box.label).strip()
            if not all(math.isfinite(side) for side in box.ltrb):
                raise ValueError("a side of it is no finite number")
        except READ_ERRORS as error:
            reason = str(error) or type(error).__name__
            truth.faults.append(f"no {reason}" if isinstance(error, KeyError) else reason)
            continue
        # Negated, so that NaN is caught too.
        if not (box.xmax > box.xmin and box.ymax > box.ymin):
            truth.faults.append("its size is zero")
        elif not (x2 > x1 and y2 > y1):
            truth.faults.append("it lies outside the image")
        elif not label:
            truth.faults.append("it has no label")
        elif annotation.ignored:
            truth.ignored.append((x1, y1, x2, y2))
        else:
            truth.rows.append((x1, y1, x2, y2, label))
    return truth


def check_size(stated: Sequence[Any] | None, size: tuple[int, int]) -> None:
    """Raise ValueError when a file states another size (width, height) than the image has."""
    if stated is not None and tuple(stated) != size:
        raise ValueError(f"made for {stated[0]}×{stated[1]} px, the image has {size[0]}×{size[1]}")
