"""A file of a microscope as planes that are read window by window.

What is small is decoded at once, as a browser shows it (`ml_backend.images`). What is large
or has several pages is read as its layout allows: uncompressed TIFFs are mapped into memory,
tiled ones read window by window, and all others from top to bottom, each row once, keeping
one band of rows. So memory does not grow with the scan.

16-bit and float samples are shown between two percentiles of the whole scan, not of a
window: a cell looks alike wherever it lies.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyvips  # type: ignore[import-untyped]
import tifffile

from ml_backend.images import (
    DTYPES,
    TIFF,
    UnreadableImage,
    as_rgb,
    as_shown,
    contrast,
    decode,
    from_vips,
    stretched,
)
from ml_backend.windows import InMemory, Plane, Window, spans

WHOLE_PIXELS = 16_000_000  # what is not larger is decoded at once: 48 MB
BAND_BYTES = 64_000_000  # of the rows that are kept of a plane read from top to bottom
STRIP = 256  # rows that are read at a time

SAMPLED_PIXELS = 1_000_000  # of a scan, which the percentiles are taken of
SAMPLED_PLANES = 16

CUT_OFF = "the image is cut off or corrupt"


@dataclass
class ScanPlane:
    """A plane of a scan; `windows.Plane`. number: its page in the file, from 0.

    stack: planes with the same number show one place at several depths or in several
    channels. failure: why its windows ended early, where they did.
    """

    number: int
    stack: int
    plane: Plane
    failure: str | None = None

    @property
    def width(self) -> int:
        return self.plane.width

    @property
    def height(self) -> int:
        return self.plane.height

    def windows(self, side: int, overlap: int) -> Iterator[Window]:
        """As of `windows.Plane`; ends early where the file cannot be read, see `failure`."""
        try:
            yield from self.plane.windows(side, overlap)
        except UnreadableImage as error:
            self.failure = error.reason
        except MemoryError:
            self.failure = "too large for the memory of this machine"
        except (pyvips.Error, OSError, ValueError):
            self.failure = CUT_OFF


def open_scan(path: Path) -> list[ScanPlane]:
    """The planes of an image file, at least one, in the order of the file.

    Reduced copies (pyramids) and masks are no planes. May be called from several threads;
    a plane's windows are read by one. Raises UnreadableImage, naming the file.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
        if start.startswith(TIFF):
            return _tiff(path) or [_whole(path)]
        if start.startswith((b"\x89PNG", b"\xff\xd8\xff")):
            image = pyvips.Image.new_from_file(str(path), access="sequential")
            if image.width * image.height > WHOLE_PIXELS:
                turned = image.get_typeof("orientation") and image.get("orientation") > 4
                size = (image.height, image.width) if turned else (image.width, image.height)
                return [ScanPlane(0, 0, _Read(path, None, *size, False, None))]
    except (pyvips.Error, OSError):
        pass  # decoding says what is wrong
    return [_whole(path)]


def _whole(path: Path) -> ScanPlane:
    return ScanPlane(0, 0, InMemory(decode(path)))


def _tiff(path: Path) -> list[ScanPlane]:
    """The planes of a TIFF, or none where it is one small image."""
    try:
        with tifffile.TiffFile(path) as file:
            planes = _pages(path, file)
            cut = _following(file, file.pages[-1])[1] != 0
            # ImageJ names the number of its planes, and may store them behind a single page.
            if cut or len(planes) < (file.imagej_metadata or {}).get("images", 1):
                planes.append(ScanPlane(len(planes), -1, _Missing()))
    except (OSError, UnreadableImage):
        raise
    except Exception:  # whatever tifffile stumbles over; libvips may still read it
        return []
    if len(planes) == 1 and planes[0].width * planes[0].height <= WHOLE_PIXELS:
        return []
    return planes


def _pages(path: Path, file: tifffile.TiffFile) -> list[ScanPlane]:
    planes: list[ScanPlane] = []
    stacks = 0
    size = path.stat().st_size
    for series in file.series:
        page = series.keyframe
        if page.is_reduced or page.is_mask:
            continue
        depth = series.axes[: len(series.axes) - len(page.axes)]
        shape = series.shape[: len(depth)]
        shades = _Shades()
        mapped = series.dataoffset is not None and _is_plain(page)
        numbers = (
            range(math.prod(shape))
            if mapped
            # A series may go on in other files, which are sources of their own.
            else [
                place
                for place, one in enumerate(series.pages)
                if one is not None and one.parent is file
            ]
        )
        times: dict[int, int] = {}
        for place in numbers:
            at = dict(zip(depth, np.unravel_index(place, shape), strict=True)) if shape else {}
            stack = times.setdefault(int(at.get("T", 0)), stacks + len(times))
            plane: Any
            if mapped:
                plane = _Mapped.of(path, file, series, place, shades)
                number = page.index + place
            else:
                at_page: Any = series.pages[place]
                number = at_page.index
                if _end(at_page) > size:
                    planes.append(ScanPlane(number, stack, _Missing()))
                    continue
                sides = (page.imagewidth, page.imagelength)
                if _orientation(page) > 4:
                    sides = sides[::-1]
                alone = _Alone.of(path, file, at_page)
                plane = _Read(path, alone, *sides, page.is_tiled, shades)
            shades.planes.append(plane)
            planes.append(ScanPlane(number, stack, plane))
        stacks += len(times)
    return planes


def _is_plain(page: Any) -> bool:
    """Whether samples, as they lie in the file, are grey values or RGB the right way up."""
    return (
        page.is_memmappable
        and page.axes in ("YX", "YXS")
        and page.samplesperpixel in (1, 3)
        and page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        and page.iccprofile is None
        and _orientation(page) == 1
        and page.dtype.kind in "uif"
    )


def _orientation(page: Any) -> int:
    """As EXIF counts: 1 upright; above 4 height and width change places."""
    tag = page.tags.get("Orientation")
    return 1 if tag is None else int(tag.value)


def _end(page: Any) -> int:
    """Where in the file the last of a page's data ends."""
    parts = zip(page.dataoffsets, page.databytecounts, strict=True)
    return max((start + count for start, count in parts), default=0)


def _following(file: tifffile.TiffFile, page: Any) -> tuple[int, int]:
    """Where in the file a page names the next one, and where that begins; 0 for none."""
    form, handle = file.tiff, file.filehandle
    handle.seek(page.offset)
    (tags,) = struct.unpack(form.tagnoformat, handle.read(form.tagnosize))
    at = page.offset + form.tagnosize + tags * form.tagsize
    handle.seek(at)
    named = handle.read(form.offsetsize)
    if len(named) < form.offsetsize:
        return at, -1
    return at, struct.unpack(form.offsetformat, named)[0]


@dataclass(frozen=True)
class _Alone:
    """A page of a TIFF as if it were the only one.

    libvips walks through all pages to open any of them, and refuses all where the last is
    cut off. So it is shown the file with two numbers changed, as `patches` by their offset:
    the first page is this one, and none follows.
    """

    path: Path
    patches: dict[int, bytes]

    @classmethod
    def of(cls, path: Path, file: tifffile.TiffFile, page: Any) -> _Alone:
        form = file.tiff
        first = 8 if form.is_bigtiff else 4
        at, _ = _following(file, page)
        return cls(
            path,
            {
                first: struct.pack(form.offsetformat, page.offset),
                at: struct.pack(form.offsetformat, 0),
            },
        )

    def source(self) -> pyvips.SourceCustom:
        file = self.path.open("rb")

        def read(size: int) -> bytes:
            start = file.tell()
            data = bytearray(file.read(size))
            for at, patch in self.patches.items():
                for place, value in enumerate(patch, at - start):
                    if 0 <= place < len(data):
                        data[place] = value
            return bytes(data)

        source = pyvips.SourceCustom()
        source.on_read(read)
        source.on_seek(file.seek)
        return source


class _Sampled(Protocol):
    """A plane that a few of its numbers can be taken of: (H, W, C)."""

    def sample(self, pixels: int) -> np.ndarray: ...


class _Shades:
    """What is black and white in a scan, found out when it is first asked for."""

    def __init__(self) -> None:
        self.planes: list[_Sampled] = []
        self._limits: tuple[float, float] | None = None

    def limits(self) -> tuple[float, float]:
        if self._limits is None:
            step = math.ceil(len(self.planes) / SAMPLED_PLANES)
            chosen = self.planes[step // 2 :: step]
            samples = []
            for plane in chosen:
                try:
                    samples.append(plane.sample(SAMPLED_PIXELS // len(chosen)).reshape(-1, 1, 1))
                except (pyvips.Error, OSError, ValueError):
                    continue  # said when it is its turn
            if not samples:
                raise UnreadableImage(CUT_OFF)
            self._limits = contrast(np.concatenate(samples))
        return self._limits


@dataclass(frozen=True)
class _Mapped:
    """A plane whose samples lie one after the other in the file, from `offset`."""

    path: Path
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    shades: _Shades

    @classmethod
    def of(
        cls, path: Path, file: tifffile.TiffFile, series: Any, place: int, shades: _Shades
    ) -> _Mapped:
        page = series.keyframe
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
        start = series.dataoffset + place * math.prod(shape) * dtype.itemsize
        return cls(path, start, shape, dtype, shades)

    @property
    def width(self) -> int:
        return self.shape[1]

    @property
    def height(self) -> int:
        return self.shape[0]

    def windows(self, side: int, overlap: int) -> Iterator[Window]:
        limits = None if self.dtype == np.uint8 else self.shades.limits()

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            # Mapped anew each time: what was read counts as our memory until it is unmapped.
            part = np.array(self._samples()[top:bottom, left:right], self.dtype.newbyteorder("="))
            return as_rgb(part, "srgb") if limits is None else stretched(part, limits)

        return _anywhere(self.width, self.height, rows, side, overlap)

    def sample(self, pixels: int) -> np.ndarray:
        step = max(1, math.isqrt(self.width * self.height // max(1, pixels)))
        return np.array(self._samples()[::step, ::step], self.dtype.newbyteorder("="))

    def _samples(self) -> np.ndarray:
        """Raises ValueError where the file is shorter."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True)
class _Read:
    """A plane that libvips reads: a page of a TIFF, or an image of another format.

    tiled: windows may be read in any order. shades: of a TIFF's samples, for more than 8 bits.
    """

    path: Path
    page: _Alone | None
    width: int
    height: int
    tiled: bool
    shades: _Shades | None

    def windows(self, side: int, overlap: int) -> Iterator[Window]:
        image = self._image("random" if self.tiled else "sequential")
        turned = image.get_typeof("orientation") and image.get("orientation") > 1
        if turned:  # libvips then keeps the pixels in a temporary file, where they are many
            image = self._image("random").autorot()
        limits = self.shades.limits() if self.shades and image.format != "uchar" else None
        image = as_shown(image) if limits is None else image
        region = pyvips.Region.new(image)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            width, height = right - left, bottom - top
            data = region.fetch(left, top, width, height)
            pixels = np.frombuffer(data, DTYPES[image.format]).reshape(height, width, image.bands)
            if limits is not None:
                return stretched(pixels, limits)
            return as_rgb(pixels, image.interpretation)

        read = _anywhere if self.tiled or turned else _downwards
        return read(image.width, image.height, rows, side, overlap)

    def sample(self, pixels: int) -> np.ndarray:
        step = max(1, math.isqrt(self.width * self.height // max(1, pixels)))
        image = self._image("sequential")
        samples = from_vips(image.subsample(min(step, image.width), min(step, image.height)))
        return samples[..., :3] if image.bands >= 3 else samples[..., :1]

    def _image(self, access: str) -> pyvips.Image:
        options = {"access": access, "fail_on": "error"}
        if self.page is None:
            return pyvips.Image.new_from_file(str(self.path), **options)
        return pyvips.Image.new_from_source(self.page.source(), "", **options)


@dataclass(frozen=True)
class _Missing:
    """What should follow in a file that ends too early."""

    width: int = 1
    height: int = 1

    def windows(self, side: int, overlap: int) -> Iterator[Window]:
        raise UnreadableImage("the file is cut off here, and what follows is lost")


Rows = Callable[[int, int, int, int], np.ndarray]  # left, top, right, bottom: RGB pixels


def _anywhere(width: int, height: int, rows: Rows, side: int, overlap: int) -> Iterator[Window]:
    """Windows of what can be read in any order."""
    for top, bottom in spans(height, side, overlap):
        for left, right in spans(width, side, overlap):
            pixels = np.empty((bottom - top, right - left, 3), np.uint8)
            for start in range(top, bottom, STRIP):
                end = min(start + STRIP, bottom)
                pixels[start - top : end - top] = rows(left, start, right, end)
            yield Window(left, top, pixels)


def _downwards(width: int, height: int, rows: Rows, side: int, overlap: int) -> Iterator[Window]:
    """Windows of what can only be read from top to bottom: bands of them, each row read once.

    Bands of a very wide plane are lower than `side`, so that they stay within BAND_BYTES.
    """
    tall = min(side, max(2 * overlap + 1, BAND_BYTES // (3 * width)))
    band = np.empty((min(tall, height), width, 3), np.uint8)
    first = read = 0  # rows of the plane: where the band starts, and how far it was read
    for top, bottom in spans(height, tall, overlap):
        band[: read - top] = band[top - first : read - first]
        for start in range(read, bottom, STRIP):
            end = min(start + STRIP, bottom)
            band[start - top : end - top] = rows(0, start, width, end)
        first, read = top, bottom
        for left, right in spans(width, side, overlap):
            yield Window(left, top, band[: bottom - top, left:right])
