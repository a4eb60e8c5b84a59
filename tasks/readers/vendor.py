"""The planes of a microscope's own file (CZI, LIF, ND2), by bioio's readers.

A plane is read whole when it is looked at, so one has to fit into memory; the others of its
file do not. A file's scenes follow one another; their times and depths are planes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.imaging.pixel_size import parse_pixel_size
from tasks.readers.contrast import Contrast, choose_stride
from tasks.readers.header import Header
from tasks.readers.planes import MissingPlane, PlaneReader, ScanPlane
from tasks.readers.reading_child import CHILD

# Planes that are listed in a file of any size.
MANY_PLANES = 10_000
MAX_PLANE = 8_000_000_000  # bytes: a plane is read whole (a slide of 60,000 × 60,000 px in grey)

# A busy machine may take so long to import what reads; no file can be at fault.
IMPORT_SECONDS = 300.0

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
    library = _find_library(path)
    CHILD.call("vendor-import", str(path), library, seconds=IMPORT_SECONDS)
    told = CHILD.call("vendor-header", str(path), library)
    dtype, channel = np.dtype(told["dtype"]), channel or 0
    planes: list[ScanPlane] = []
    contrasts: list[Contrast] = []
    stacks = 0
    for scene, sizes in enumerate(told["scenes"]):
        if sizes["T"] * sizes["Z"] > max(MANY_PLANES, path.stat().st_size):
            raise UnreadableImage("it promises more planes than it has bytes")
        if sizes["X"] * sizes["Y"] * sizes["S"] * dtype.itemsize > MAX_PLANE:
            raise UnreadableImage("a plane of it is too large to be read whole")
        if channel >= sizes["C"]:
            raise UnreadableImage(f"there is no channel {channel}; it has {sizes['C']}, from 0")
        contrast = Contrast(dtype)
        contrasts.append(contrast)
        for time, depth in product(range(sizes["T"]), range(sizes["Z"])):
            place = (scene, time, channel, depth)
            plane = _Plane(
                path, library, place, sizes["X"], sizes["Y"], sizes["S"], dtype, contrast
            )
            contrast.planes.append(plane)
            planes.append(ScanPlane(len(planes), stacks + time, plane))
        stacks += sizes["T"]
    if len(told["scenes"]) < told["expected"]:
        reason = "the file says nothing of some of its scenes, which are left out"
        planes.append(ScanPlane(len(planes), stacks, MissingPlane(reason)))
    if not planes:
        raise UnreadableImage("there is no image in the file")
    size = planes[0].width, planes[0].height
    pixel_size = parse_pixel_size(told["pixel_size"])
    return Header(
        path,
        "vendor",
        tuple(planes),
        tuple(contrasts),
        size,
        find_pixel_size=lambda: pixel_size,
    )


@dataclass(frozen=True, eq=False)
class _Plane:
    """library: what reads it; place: scene, time, channel and depth; dtype: of its samples."""

    path: Path
    library: str
    place: tuple[int, int, int, int]
    width: int
    height: int
    samples: int
    dtype: np.dtype
    contrast: Contrast

    @property
    def deep(self) -> bool:
        return bool(self.dtype != np.uint8)

    def pixels(self) -> np.ndarray:
        """Read it: (H, W, C). Raises UnreadableImage."""
        size = self.width * self.height * self.samples * self.dtype.itemsize
        arguments = (self.library, *self.place, self.samples)
        pixels = CHILD.call("vendor-plane", str(self.path), *arguments, size=size)
        if pixels.size != self.width * self.height * self.samples:
            raise UnreadableImage(_damaged(self.path))
        return pixels.reshape(self.height, self.width, -1)

    def reader(self) -> PlaneReader:
        pixels = self.pixels()
        render = self.contrast.make_renderer(pixels.dtype != np.uint8)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return render(pixels[top:bottom, left:right])

        return PlaneReader(self.width, self.height, rows)

    def sample(self, pixels: int) -> np.ndarray:
        step = choose_stride(self.width, self.height, pixels)
        return self.pixels()[::step, ::step]


def _find_library(path: Path) -> str:
    """The package that reads a file of this ending. Raises UnreadableImage: it is missing."""
    ending = path.suffix.lower()
    library = READERS[ending]
    if not (find_spec("bioio") and find_spec(library)):
        raise UnreadableImage(
            f"{ending[1:].upper()} files need the extra bioio: uv sync --extra bioio"
        )
    return library


def _damaged(path: Path) -> str:
    return f"it cannot be read as {path.suffix[1:].upper()}: incomplete, or of an unknown kind"


# What follows runs in the child (`reading_child`), where a crash of the libraries does no harm.


def import_library(path: str, library: str) -> None:
    """Import what reads files of a vendor, before the time of the first of them is taken."""
    import_module(library)


def read_header(path: str, library: str) -> dict[str, Any]:
    """Read what a file says of itself.

    Args:
        path: The file.
        library: The package that reads it.

    Returns:
        `scenes`: how long T, C, Z, Y, X and S (samples a pixel) are in each; `expected`: how many
        scenes there are at least; `dtype` of the samples; `pixel_size`: µm, or None.

    Raises:
        UnreadableImage: It cannot be read.
    """
    image = _open(path, library, os.stat(path).st_mtime_ns)
    try:
        scenes = []
        for scene in range(len(image.scenes)):
            image.set_scene(scene)
            scenes.append({name: int(getattr(image.dims, name, 1)) for name in "TCZYXS"})
        return {
            "scenes": scenes,
            "expected": _count_scenes(path),
            "dtype": np.dtype(image.dtype).str,
            "pixel_size": _find_pixel_size(image),
        }
    except MemoryError:
        raise
    except Exception as error:  # the readers raise whatever they stumble over
        raise UnreadableImage(_damaged(Path(path))) from error


def read_plane(
    path: str, library: str, scene: int, time: int, channel: int, depth: int, samples: int
) -> np.ndarray:
    """Read a plane: (H, W) or, of several samples a pixel, (H, W, S).

    Raises:
        UnreadableImage: It cannot be read.
    """
    image = _open(path, library, os.stat(path).st_mtime_ns)
    try:
        image.set_scene(scene)
        lazy = image.get_image_dask_data("YXS" if samples > 1 else "YX", T=time, C=channel, Z=depth)
        return np.asarray(lazy)
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableImage(_damaged(Path(path))) from error


@lru_cache(maxsize=4)
def _open(path: str, library: str, changed: int) -> Any:
    """Open a file; `changed` is when, since another file may have taken its place."""
    from bioio import BioImage

    try:
        return BioImage(path, reader=import_module(library).Reader)
    except MemoryError:
        raise
    except Exception as error:
        raise UnreadableImage(_damaged(Path(path))) from error


def _count_scenes(path: str) -> int:
    """How many there are at least: of a CZI that tells too little, bioio reads the first."""
    if not path.lower().endswith(".czi"):
        return 0
    from pylibCZIrw import czi

    with czi.open_czi(path) as file:
        return len(file.scenes_bounding_rectangle)


def _find_pixel_size(image: Any) -> float | None:
    """µm a pixel of the first scene; None where the file does not say."""
    try:
        image.set_scene(0)
        size = image.physical_pixel_sizes.X
        return None if size is None else float(size)
    except Exception:  # the readers raise whatever they stumble over
        return None
