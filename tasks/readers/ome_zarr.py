"""The planes of an OME-Zarr image: a folder of chunks, read window by window.

Versions 0.4 (Zarr 2) and 0.5 (Zarr 3), also of several images, as bioformats2raw lays them into
one folder. The first and finest of the resolutions is what is looked at, a coarser one says what
is black and white.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.imaging.decode import MAX_DECODED, UnreadableImage
from ml_backend.imaging.pixel_size import UNITS, parse_pixel_size
from ml_backend.system.plain_files import find_obstacle
from tasks.readers.contrast import Contrast, choose_stride
from tasks.readers.header import Header
from tasks.readers.planes import PlaneReader, ScanPlane
from tasks.readers.reading_child import CHILD

# A resolution of no more px a plane says what is black and white.
_COARSE = 4_000_000

# Planes that are listed whether chunks of them are there or not.
FEW_PLANES = 10_000


def is_store(path: Path) -> bool:
    """Whether a folder is one of Zarr, by its ending or what describes it."""
    if not path.is_dir():  # nearly all are files: one look is enough
        return False
    described = (path / ".zgroup").is_file() or (path / "zarr.json").is_file()
    return described or path.suffix.lower() == ".zarr"


def _pixel_size(group: Any) -> float | None:
    """µm that a pixel of the finest resolution of an image shows; None where it does not say."""
    try:
        image = _attributes(group)["multiscales"][0]
        across: Any = image["axes"][-1]
        scales = [
            one["coordinateTransformations"]
            for one in (image["datasets"][0], image)
            if "coordinateTransformations" in one
        ]
        factors = [step["scale"][-1] for steps in scales for step in steps if "scale" in step]
        return parse_pixel_size(math.prod(factors) * UNITS[across["unit"]])
    except (KeyError, IndexError, TypeError, ValueError):
        return None


def examine(path: Path, channel: int | None) -> Header:
    """Read what a folder of OME-Zarr says of its images; planes in the order of time and depth.

    Args:
        path: The folder.
        channel: The one that is looked at, from 0; else the first.

    Raises:
        UnreadableImage: It is none, or incomplete; the reason is one line.
    """
    try:
        import zarr
        from zarr.errors import ContainsArrayError
    except ImportError as error:
        raise UnreadableImage("OME-Zarr needs the extra zarr: uv sync --extra zarr") from error
    try:
        planes: list[ScanPlane] = []
        contrasts: list[Contrast] = []
        groups = _images(zarr.open_group(path, mode="r"))
        for group in groups:
            stacks = 1 + max((plane.stack for plane in planes), default=-1)
            more, contrast = _planes(group, channel or 0)
            planes += [
                replace(plane, number=len(planes) + number, stack=stacks + plane.stack)
                for number, plane in enumerate(more)
            ]
            contrasts.append(contrast)
        return Header(
            path,
            "ome-zarr",
            tuple(planes),
            tuple(contrasts),
            (planes[0].width, planes[0].height),
            find_pixel_size=partial(_pixel_size, groups[0]),
        )
    except UnreadableImage:
        raise
    except (KeyError, IndexError, TypeError) as error:
        raise UnreadableImage(
            "no image of OME-Zarr; of a plate, give the folder of one of its images"
        ) from error
    except ContainsArrayError as error:
        raise UnreadableImage("an array of Zarr, and no image of OME-Zarr") from error
    except Exception as error:  # zarr raises whatever it stumbles over
        raise UnreadableImage("the OME-Zarr folder is incomplete or corrupt") from error


def _attributes(group: Any) -> Any:
    attributes: Any = dict(group.attrs)
    return attributes.get("ome", attributes)


def _images(group: Any) -> list[Any]:
    """The groups of images: itself, or the series that a converter laid into it."""
    if "bioformats2raw.layout" not in _attributes(group):
        return [group]
    try:
        names = _attributes(group["OME"])["series"]
    except KeyError:
        names = sorted((name for name in group.group_keys() if name.isdigit()), key=int)
    return [group[name] for name in names]


def _planes(group: Any, channel: int) -> tuple[list[ScanPlane], Contrast]:
    """Of an image. Raises UnreadableImage; KeyError, IndexError, TypeError where it is none."""
    image = _attributes(group)["multiscales"][0]
    levels: list[Any] = [group[one["path"]] for one in image["datasets"]]
    axes: list[str] = [one["name"] if isinstance(one, dict) else one for one in image["axes"]]
    if axes[-2:] != ["y", "x"] or set(axes[:-2]) - set("tcz"):
        raise UnreadableImage(f"its axes are {', '.join(axes)}; known are t, c, z, y, x")
    array = levels[0]
    depth = dict(zip(axes[:-2], array.shape[:-2], strict=True))
    if channel >= depth.get("c", 1):
        raise UnreadableImage(
            f"there is no channel {channel}; it has {depth.get('c', 1)}, from 0 on"
        )
    _check_array(group, image["datasets"][0]["path"], array)
    coarse = next((one for one in levels if one.shape[-2] * one.shape[-1] <= _COARSE), levels[-1])
    contrast = Contrast(array.dtype)
    planes = []
    for number, (time, z) in enumerate(product(range(depth.get("t", 1)), range(depth.get("z", 1)))):
        at = {"t": time, "c": channel, "z": z}
        index = tuple(at[axis] for axis in axes[:-2])
        # Coarser levels may have fewer planes.
        low = tuple(min(i, n - 1) for i, n in zip(index, coarse.shape[:-2], strict=True))
        plane = _ChunkedPlane(array, index, coarse, low, contrast)
        contrast.planes.append(plane)
        planes.append(ScanPlane(number, time, plane))
    return planes, contrast


def _check_array(group: Any, name: str, array: Any) -> None:
    """Hold the shape of an array against the files that it has, before anything is made of it.

    Raises:
        UnreadableImage: It has no pixels, its chunks are too large to be decoded, or it promises
            far more planes than there are chunks.
    """
    if 0 in array.shape:
        raise UnreadableImage("it has no pixels")
    if math.prod(array.chunks) * array.dtype.itemsize > MAX_DECODED:
        raise UnreadableImage("its chunks are too large to be decoded")
    planes = math.prod(array.shape[:-2])
    if planes <= FEW_PLANES:  # chunks that are not there are empty, which is honest
        return
    chunks = sum(1 for path in (Path(str(group.store.root)) / group.path / name).rglob("*"))
    if planes > FEW_PLANES * (chunks + 1) * math.prod(array.chunks[:-2]):
        raise UnreadableImage(f"it promises {planes} planes and has {chunks} files")


@dataclass(frozen=True)
class _ChunkedPlane:
    """array[index] is the plane, coarse[low] the same with fewer px."""

    array: Any
    index: tuple[int, ...]
    coarse: Any
    low: tuple[int, ...]
    contrast: Contrast

    @property
    def width(self) -> int:
        return int(self.array.shape[-1])

    @property
    def height(self) -> int:
        return int(self.array.shape[-2])

    @property
    def deep(self) -> bool:
        return self.array.dtype != np.uint8

    def reader(self) -> PlaneReader:
        render = self.contrast.make_renderer(self.deep)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            part = _decoded(self.array, (*self.index, slice(top, bottom), slice(left, right)))
            return render(part[..., None])

        # A chunk is decoded as a whole, so as many rows as can be are read at once.
        return PlaneReader(self.width, self.height, rows, strip=self.height)

    def sample(self, pixels: int) -> np.ndarray:
        height, width = self.coarse.shape[-2:]
        step = choose_stride(width, height, pixels)
        return _decoded(self.coarse, self.low)[::step, ::step, None]


def _decoded(array: Any, place: tuple[int | slice, ...]) -> np.ndarray:
    """Read a part of an array. Raises UnreadableImage."""
    spans = [[at.start, at.stop] if isinstance(at, slice) else at for at in place]
    sides = [span[1] - span[0] for span in spans if isinstance(span, list)]
    sides += array.shape[len(spans) :]
    size = math.prod(sides) * array.dtype.itemsize
    root = str(array.store.root)
    return CHILD.call("zarr", root, array.path, spans, size=size)


@lru_cache(maxsize=64)
def _open_array(root: str, name: str, changed: tuple[int, ...]) -> Any:
    """Open an array; `changed` is when, since another may have taken its place."""
    import zarr

    return zarr.open_group(root, mode="r")[name]


def read_array(root: str, name: str, spans: Sequence[int | Sequence[int]]) -> np.ndarray:
    """Read a part of an array; to be called where a crash does no harm (`reading_child`).

    Args:
        root: The folder of the store.
        name: The array's path in it.
        spans: For the first axes an index or [start, end]; the other axes whole.

    Raises:
        UnreadableImage: A chunk cannot be read.
    """
    place = tuple(span if isinstance(span, int) else slice(*span) for span in spans)
    described = (Path(root) / name / file for file in (".zarray", "zarr.json"))
    try:
        changed = tuple(path.stat().st_mtime_ns for path in described if path.is_file())
        array = _open_array(root, name, changed)
        for path in _list_chunk_files(array, place):
            if path.exists() and (obstacle := find_obstacle(path)):
                raise UnreadableImage(f"a chunk of it cannot be read: {obstacle}")
        return np.asarray(array[place])
    except (MemoryError, UnreadableImage):
        raise
    except Exception as error:  # every codec has a kind of its own
        raise UnreadableImage("a chunk of it is cut off or corrupt") from error


def _list_chunk_files(array: Any, place: tuple[int | slice, ...]) -> Iterator[Path]:
    """List the files, there or not, that a part of an array lies in."""
    sides = array.shards or array.chunks
    whole = [slice(0, length) for length in array.shape[len(place) :]]
    spans = [at if isinstance(at, slice) else slice(at, at + 1) for at in (*place, *whole)]
    ranges = (
        range(span.start // side, -(-span.stop // side))
        for span, side in zip(spans, sides, strict=True)
    )
    folder = Path(str(array.store.root)) / array.path
    return (folder / array.metadata.encode_chunk_key(at) for at in product(*ranges))
