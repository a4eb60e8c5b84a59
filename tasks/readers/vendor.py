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
from tasks.readers.contrast import Shades, stride
from tasks.readers.planes import Missing, Reader, ScanPlane, Showing

# The package of the extra that reads files of an ending.
READERS = {".czi": "bioio_czi", ".lif": "bioio_lif", ".nd2": "bioio_nd2"}


def is_vendor_file(path: Path) -> bool:
    return path.suffix.lower() in READERS and not path.is_dir()


def planes_of(path: Path, showing: Showing) -> list[ScanPlane]:
    """The planes of a file in the order of scenes, time and depth; times of a scene are stacks
    of their own. Raises UnreadableImage."""
    file = _File(path, threading.Lock(), _opened(path))
    planes: list[ScanPlane] = []
    stacks = 0
    try:
        for scene in range(len(file.image.scenes)):
            sizes = file.sizes(scene)
            channel = showing.channel or 0
            if channel >= sizes["C"]:
                raise UnreadableImage(f"there is no channel {channel}; it has {sizes['C']}, from 0")
            shades = Shades(showing.of(np.dtype(file.image.dtype)))
            for time, depth in product(range(sizes["T"]), range(sizes["Z"])):
                plane = _Plane(
                    file, scene, time, channel, depth, sizes["X"], sizes["Y"], sizes["S"], shades
                )
                shades.planes.append(plane)
                planes.append(ScanPlane(len(planes), stacks + time, plane))
            stacks += sizes["T"]
        if len(file.image.scenes) < _scenes(path):
            reason = "the file says nothing of some of its scenes, which are left out"
            planes.append(ScanPlane(len(planes), stacks, Missing(reason)))
    except UnreadableImage:
        raise
    except Exception as error:  # the readers raise whatever they stumble over
        raise UnreadableImage(_damaged(path)) from error
    if not planes:
        raise UnreadableImage("there is no image in the file")
    return planes


def pixel_size(path: Path) -> float | None:
    """µm a pixel, by the file's metadata; None where it does not say or cannot be read."""
    try:
        return parse_pixel_size(_opened(path).physical_pixel_sizes.X)
    except Exception:  # said when the file's planes are read
        return None


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
    shades: Shades

    @property
    def deep(self) -> bool:
        return bool(self.file.image.dtype != np.uint8)

    def reader(self) -> Reader:
        pixels = self.file.pixels(self)
        shown = self.shades.shown(pixels.dtype != np.uint8)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return shown(pixels[top:bottom, left:right])

        return Reader(self.width, self.height, rows)

    def sample(self, pixels: int) -> np.ndarray:
        step = stride(self.width, self.height, pixels)
        return self.file.pixels(self)[::step, ::step]
