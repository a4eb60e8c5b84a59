"""The planes of a microscope's own file (CZI, LIF, ND2), by bioio's readers.

A plane is read whole when it is looked at, so one has to fit into memory; the others of its
file do not. A file's scenes follow one another; their times and depths are planes.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.imaging.pixel_size import parse_pixel_size
from tasks.readers.contrast import Contrast, choose_stride
from tasks.readers.header import Header
from tasks.readers.planes import MissingPlane, PlaneReader, ScanPlane

# Planes that are listed in a file of any size.
MANY_PLANES = 10_000
MAX_PLANE = 8_000_000_000  # bytes: a plane is read whole (a slide of 60,000 × 60,000 px in grey)

# The package of the extra that reads files of an ending.
READERS = {".czi": "bioio_czi", ".lif": "bioio_lif", ".nd2": "bioio_nd2"}


def is_vendor_file(path: Path) -> bool:
    """Whether a file is one of a microscope's own formats, by its ending."""
    return path.suffix.lower() in READERS and not path.is_dir()


def examine(path: Path, channel: int | None) -> Header:
    """Read the header of a file; planes in the order of scenes, time and depth.

    Times of a scene are stacks of their own.

    Args:
        path: The file.
        channel: The one that is looked at, from 0; else the first.

    Raises:
        UnreadableImage: It cannot be read; the reason is one line.
    """
    file = _File(path, threading.Lock(), _opened(path))
    planes: list[ScanPlane] = []
    contrasts: list[Contrast] = []
    channel = channel or 0
    stacks = 0
    try:
        for scene in range(len(file.image.scenes)):
            sizes = file.sizes(scene)
            if sizes["T"] * sizes["Z"] > max(MANY_PLANES, path.stat().st_size):
                raise UnreadableImage("it promises more planes than it has bytes")
            samples = sizes["X"] * sizes["Y"] * sizes["S"]
            if samples * np.dtype(file.image.dtype).itemsize > MAX_PLANE:
                raise UnreadableImage("a plane of it is too large to be read whole")
            if channel >= sizes["C"]:
                raise UnreadableImage(f"there is no channel {channel}; it has {sizes['C']}, from 0")
            contrast = Contrast(np.dtype(file.image.dtype))
            contrasts.append(contrast)
            for time, depth in product(range(sizes["T"]), range(sizes["Z"])):
                plane = _Plane(
                    file, scene, time, channel, depth, sizes["X"], sizes["Y"], sizes["S"], contrast
                )
                contrast.planes.append(plane)
                planes.append(ScanPlane(len(planes), stacks + time, plane))
            stacks += sizes["T"]
        if len(file.image.scenes) < _scenes(path):
            reason = "the file says nothing of some of its scenes, which are left out"
            planes.append(ScanPlane(len(planes), stacks, MissingPlane(reason)))
    except UnreadableImage:
        raise
    except Exception as error:  # the readers raise whatever they stumble over
        raise UnreadableImage(_damaged(path)) from error
    if not planes:
        raise UnreadableImage("there is no image in the file")
    size = planes[0].width, planes[0].height
    return Header(
        path,
        "vendor",
        tuple(planes),
        tuple(contrasts),
        size,
        find_pixel_size=file.find_pixel_size,
    )


def _opened(path: Path) -> Any:
    ending = path.suffix.lower()
    try:
        from bioio import BioImage

        reader = importlib.import_module(READERS[ending]).Reader
    except ImportError as error:
        raise UnreadableImage(
            f"{ending[1:].upper()} files need the extra bioio: uv sync --extra bioio"
        ) from error
    try:
        return BioImage(path, reader=reader)
    except Exception as error:
        raise UnreadableImage(_damaged(path)) from error


def _scenes(path: Path) -> int:
    """How many there are at least: of a CZI that tells too little, bioio reads the first."""
    if path.suffix.lower() != ".czi":
        return 0
    from pylibCZIrw import czi

    with czi.open_czi(str(path)) as file:
        return len(file.scenes_bounding_rectangle)


def _damaged(path: Path) -> str:
    return f"it cannot be read as {path.suffix[1:].upper()}: incomplete, or of an unknown kind"


@dataclass(frozen=True, eq=False)
class _File:
    """image: bioio's; it is turned to one scene at a time, under the lock."""

    path: Path
    lock: threading.Lock
    image: Any

    def sizes(self, scene: int) -> dict[str, int]:
        """How long each of T, C, Z, Y, X and S (samples a pixel) is; 1 where there is none."""
        with self.lock:
            self.image.set_scene(scene)
            dims = self.image.dims
            return {name: int(getattr(dims, name, 1)) for name in "TCZYXS"}

    def find_pixel_size(self) -> float | None:
        """µm a pixel of the first scene; None where the file does not say."""
        try:
            with self.lock:
                self.image.set_scene(0)
                return parse_pixel_size(self.image.physical_pixel_sizes.X)
        except Exception:  # the readers raise whatever they stumble over
            return None

    def pixels(self, plane: _Plane) -> np.ndarray:
        """(H, W, C). Raises UnreadableImage."""
        try:
            with self.lock:
                self.image.set_scene(plane.scene)
                lazy = self.image.get_image_dask_data(
                    "YXS" if plane.samples > 1 else "YX", T=plane.time, C=plane.channel, Z=plane.z
                )
                pixels = np.asarray(lazy)
        except MemoryError:
            raise
        except Exception as error:
            raise UnreadableImage(_damaged(self.path)) from error
        return pixels.reshape(plane.height, plane.width, -1)


@dataclass(frozen=True, eq=False)
class _Plane:
    file: _File
    scene: int
    time: int
    channel: int
    z: int
    width: int
    height: int
    samples: int
    contrast: Contrast

    @property
    def deep(self) -> bool:
        return bool(self.file.image.dtype != np.uint8)

    def reader(self) -> PlaneReader:
        pixels = self.file.pixels(self)
        render = self.contrast.make_renderer(pixels.dtype != np.uint8)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return render(pixels[top:bottom, left:right])

        return PlaneReader(self.width, self.height, rows)

    def sample(self, pixels: int) -> np.ndarray:
        step = choose_stride(self.width, self.height, pixels)
        return self.file.pixels(self)[::step, ::step]
