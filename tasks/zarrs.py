"""The planes of an OME-Zarr image: a folder of chunks, read window by window.

Versions 0.4 (Zarr 2) and 0.5 (Zarr 3); the first and finest of the resolutions is what is
looked at, a coarser one says what is black and white.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import microns
from ml_backend.images import UnreadableImage
from tasks.planes import Reader, ScanPlane, Showing
from tasks.shades import Shades, stride

# A resolution of no more px a plane says what is black and white.
_COARSE = 4_000_000


def is_store(path: Path) -> bool:
    return path.suffix.lower() == ".zarr" and path.is_dir()


def pixel_size(path: Path) -> float | None:
    """µm that a pixel of the finest resolution shows; None where the store does not say."""
    try:
        import zarr

        attributes: Any = dict(zarr.open_group(path, mode="r").attrs)
        image = attributes.get("ome", attributes)["multiscales"][0]
        across: Any = image["axes"][-1]
        scales = [
            one["coordinateTransformations"]
            for one in (image["datasets"][0], image)
            if "coordinateTransformations" in one
        ]
        factors = [step["scale"][-1] for steps in scales for step in steps if "scale" in step]
        return microns.known(math.prod(factors) * microns.UNITS[across["unit"]])
    except Exception:  # what is wrong with it is told when its planes are read
        return None


def planes_of(path: Path, showing: Showing) -> list[ScanPlane]:
    """The planes of an image in the order of time and depth. Raises UnreadableImage."""
    try:
        import zarr
    except ImportError as error:
        raise UnreadableImage("OME-Zarr needs the extra zarr: uv sync --extra zarr") from error
    try:
        group = zarr.open_group(path, mode="r")
        attributes: Any = dict(group.attrs)
        image = attributes.get("ome", attributes)["multiscales"][0]
        levels: list[Any] = [group[one["path"]] for one in image["datasets"]]
        axes: list[str] = [one["name"] if isinstance(one, dict) else one for one in image["axes"]]
    except (KeyError, IndexError, TypeError) as error:
        raise UnreadableImage(
            "no image of OME-Zarr; of a plate, give the folder of one of its images"
        ) from error
    except Exception as error:  # zarr raises whatever it stumbles over
        raise UnreadableImage("the OME-Zarr folder is incomplete or corrupt") from error
    if axes[-2:] != ["y", "x"] or set(axes[:-2]) - set("tcz"):
        raise UnreadableImage(f"its axes are {', '.join(axes)}; known are t, c, z, y, x")
    array = levels[0]
    depth = dict(zip(axes[:-2], array.shape[:-2], strict=True))
    channel = showing.channel or 0
    if channel >= depth.get("c", 1):
        raise UnreadableImage(
            f"there is no channel {channel}; it has {depth.get('c', 1)}, from 0 on"
        )
    coarse = next((one for one in levels if one.shape[-2] * one.shape[-1] <= _COARSE), levels[-1])
    shades = Shades(showing.limits)
    planes = []
    for number, (time, z) in enumerate(product(range(depth.get("t", 1)), range(depth.get("z", 1)))):
        at = {"t": time, "c": channel, "z": z}
        index = tuple(at[axis] for axis in axes[:-2])
        # Coarser levels may have fewer planes.
        low = tuple(min(i, n - 1) for i, n in zip(index, coarse.shape[:-2], strict=True))
        plane = _Chunked(array, index, coarse, low, shades)
        shades.planes.append(plane)
        planes.append(ScanPlane(number, time, plane))
    return planes


@dataclass(frozen=True)
class _Chunked:
    """array[index] is the plane, coarse[low] the same with fewer px."""

    array: Any
    index: tuple[int, ...]
    coarse: Any
    low: tuple[int, ...]
    shades: Shades

    @property
    def width(self) -> int:
        return int(self.array.shape[-1])

    @property
    def height(self) -> int:
        return int(self.array.shape[-2])

    @property
    def deep(self) -> bool:
        return self.array.dtype != np.uint8

    def reader(self) -> Reader:
        shown = self.shades.shown(self.deep)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            part = np.asarray(self.array[(*self.index, slice(top, bottom), slice(left, right))])
            return shown(part[..., None])

        # A chunk is decoded as a whole, so as many rows as can be are read at once.
        return Reader(self.width, self.height, rows, strip=self.height)

    def sample(self, pixels: int) -> np.ndarray:
        height, width = self.coarse.shape[-2:]
        step = stride(width, height, pixels)
        return np.asarray(self.coarse[self.low])[::step, ::step, None]
