"""What an image file says of itself before its pixels are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ml_backend.imaging.pixel_size import parse_ome_pixels, read_ome_length
from tasks.readers.contrast import Contrast
from tasks.readers.planes import ScanPlane

Kind = Literal["image", "tiff", "ome-zarr", "vendor"]


def find_no_pixel_size() -> float | None:
    """Return None: the file does not say how much a pixel shows."""
    return None


@dataclass(frozen=True)
class Header:
    """The header of an image file, read once and used as often as its pixels are.

    Attributes:
        path: The file.
        kind: By what it is read.
        planes: In the order of the file; none where it is best decoded as a whole.
        contrasts: Of the planes; what is black and white in each series of the file.
        size: Width and height of the first plane in px; None where only decoding tells.
        failure: Why the file cannot be read, where its header says so; in one line.
        ome: The OME-XML in it; empty where it holds none.
        find_pixel_size: Gives µm a pixel, or None. Called once, when it is first asked for.
    """

    path: Path
    kind: Kind
    planes: tuple[ScanPlane, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    size: tuple[int, int] | None = None
    failure: str = ""
    ome: str = ""
    find_pixel_size: Callable[[], float | None] = find_no_pixel_size

    @cached_property
    def pixel_size(self) -> float | None:
        """µm that a pixel shows; None where the file does not say."""
        return self.find_pixel_size()

    @cached_property
    def stage_position(self) -> tuple[float, float] | None:
        """Where the stage was, (x, y) in px, by the OME metadata; None where it does not say."""
        pixels = parse_ome_pixels(self.ome)
        plane = None if pixels is None else pixels.find("{*}Plane")
        if pixels is None or plane is None:
            return None
        position = []
        for axis in "XY":
            size = read_ome_length(pixels, f"PhysicalSize{axis}")
            stage = read_ome_length(plane, f"Position{axis}")
            if not size or stage is None:
                return None
            position.append(stage / size)
        return position[0], position[1]
