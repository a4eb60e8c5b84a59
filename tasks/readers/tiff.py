"""The planes of a TIFF, each read as its layout allows.

Uncompressed ones are mapped into memory, tiled ones read window by window, and all others
from top to bottom, each row once (very wide ones, and what libvips refuses, by `pages`).
16-bit and float samples are shown between two percentiles of the whole scan, not of a window: a
cell looks alike wherever it lies.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyvips  # type: ignore[import-untyped]
import tifffile

from ml_backend.imaging.decode import (
    DTYPES,
    UnreadableImage,
    as_rgb,
    as_shown,
    from_vips,
    stretched,
    vips_refuses,
)
from tasks.readers.contrast import Shades, stride
from tasks.readers.planes import Missing, Reader, ScanPlane, Showing, Stored, of_channel
from tasks.readers.tiff_pages import Strips, Whole, are_large

TILES_BYTES = 24_000_000  # of rows of tiles that may be kept, so that none is decoded twice

LOST = "the file is cut off here, and what follows is lost"


def planes_of(path: Path, showing: Showing) -> list[ScanPlane]:
    """The planes of a TIFF in the order of the file, or none where tifffile cannot read it.

    Reduced copies (pyramids) and masks are no planes. Raises UnreadableImage, OSError.
    """
    try:
        with tifffile.TiffFile(path) as file:
            planes = _pages(path, file, showing)
            cut = _following(file, file.pages[-1])[1] != 0
            # ImageJ names the number of its planes, and may store them behind a single page.
            described = (file.imagej_metadata or {}).get("images", 1)
            channels = (file.imagej_metadata or {}).get("channels", 1)
            if cut or len(planes) < described // channels:
                planes.append(ScanPlane(len(planes), -1, Missing(LOST)))
    except (OSError, UnreadableImage):
        raise
    except Exception:  # whatever tifffile stumbles over; libvips may still read it
        return []
    return planes


def _pages(path: Path, file: tifffile.TiffFile, showing: Showing) -> list[ScanPlane]:
    planes: list[ScanPlane] = []
    stacks = 0
    size = path.stat().st_size
    for series in file.series:
        page = series.keyframe
        if page.is_reduced or page.is_mask:
            continue
        depth = series.axes[: len(series.axes) - len(page.axes)]
        shape = series.shape[: len(depth)]
        channel = _channel(dict(zip(depth, shape, strict=True)), page, showing.channel)
        sample = None if "C" in depth else showing.channel
        shades = Shades(showing.of(np.dtype(page.dtype)))
        mapped = series.dataoffset is not None and page.is_memmappable and _is_plain(page)
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
            if at.get("C", channel) != channel:
                continue
            stack = times.setdefault(int(at.get("T", 0)), stacks + len(times))
            plane: Stored
            if mapped:
                plane = _Mapped.of(path, file, series, place, shades, sample)
                number = page.index + place
            else:
                at_page: Any = series.pages[place]
                number = at_page.index
                if _end(at_page) > size:
                    planes.append(ScanPlane(number, stack, Missing(LOST)))
                    continue
                sides = (page.imagewidth, page.imagelength)
                if _orientation(page) > 4:
                    sides = sides[::-1]
                plain, deep = _is_plain(page), page.dtype != np.uint8
                if plain and are_large(page):
                    plane = Strips(path, number, *sides, deep, shades, sample)
                elif vips_refuses(page):
                    plane = Whole(path, number, *sides, deep, shades, sample)
                else:
                    alone = _Alone.of(path, file, at_page)
                    tile = page.tilelength if page.is_tiled else 0
                    plane = Read(path, alone, *sides, tile, shades, sample)
            shades.planes.append(plane)
            planes.append(ScanPlane(number, stack, plane))
        stacks += len(times)
    return planes


def _channel(depth: dict[str, int], page: Any, asked: int | None) -> int:
    """The channel that is looked at: the one asked for, else the first."""
    channels = depth.get("C", page.samplesperpixel)
    if asked is not None and asked >= channels:
        raise UnreadableImage(f"there is no channel {asked}; it has {channels}, from 0 on")
    return asked or 0


def _is_plain(page: Any) -> bool:
    """Whether samples, as they lie in the file, are grey values or RGB the right way up."""
    return (
        page.axes in ("YX", "YXS")
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


@dataclass(frozen=True)
class _Mapped:
    """A plane whose samples lie one after the other in the file, from `offset`."""

    path: Path
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    shades: Shades
    channel: int | None

    @classmethod
    def of(
        cls,
        path: Path,
        file: tifffile.TiffFile,
        series: Any,
        place: int,
        shades: Shades,
        channel: int | None,
    ) -> _Mapped:
        page = series.keyframe
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
        start = series.dataoffset + place * math.prod(shape) * dtype.itemsize
        return cls(path, start, shape, dtype, shades, channel)

    @property
    def width(self) -> int:
        return self.shape[1]

    @property
    def height(self) -> int:
        return self.shape[0]

    @property
    def deep(self) -> bool:
        """Whether its samples have to be stretched to be shown."""
        return self.dtype != np.uint8

    def reader(self) -> Reader:
        shown = self.shades.shown(self.deep)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            # Mapped anew each time: what was read counts as our memory until it is unmapped.
            part = np.array(self._samples()[top:bottom, left:right], self.dtype.newbyteorder("="))
            return shown(of_channel(part, self.channel))

        return Reader(self.width, self.height, rows)

    def sample(self, pixels: int) -> np.ndarray:
        step = stride(self.width, self.height, pixels)
        samples = np.array(self._samples()[::step, ::step], self.dtype.newbyteorder("="))
        return of_channel(samples, self.channel)

    def _samples(self) -> np.ndarray:
        """Raises ValueError where the file is shorter."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True)
class Read:
    """A plane that libvips reads: a page of a TIFF, or an image of another format.

    tile: height of the tiles that windows are read from in any order, 0 where it has none.
    shades: of a TIFF's samples, for more than 8 bits.
    """

    path: Path
    page: _Alone | None
    width: int
    height: int
    tile: int
    shades: Shades | None
    channel: int | None = None

    @property
    def deep(self) -> bool:
        """Whether its samples have to be stretched to be shown."""
        return self.shades is not None and self._image("sequential").format != "uchar"

    def reader(self) -> Reader:
        image = self._image("random" if self.tile else "sequential")
        turned = image.get_typeof("orientation") and image.get("orientation") > 1
        if turned:  # libvips then keeps the pixels in a temporary file, where they are many
            image = self._image("random").autorot()
        limits = self.shades.limits() if self.shades and image.format != "uchar" else None
        raw = limits is not None or self.channel is not None and image.format == "uchar"
        image = image if raw else as_shown(image)
        region = pyvips.Region.new(image)
        # libvips keeps rows of tiles as long as an image is open.
        kept = turned or 2 * self.tile * self.width * image.bands <= TILES_BYTES

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            part = region
            if not kept:
                again = self._image("random")
                part = pyvips.Region.new(again if raw else as_shown(again))
            width, height = right - left, bottom - top
            data = part.fetch(left, top, width, height)
            pixels = np.frombuffer(data, DTYPES[image.format]).reshape(height, width, image.bands)
            pixels = of_channel(pixels, self.channel)
            if limits is not None:
                return stretched(pixels, limits)
            return as_rgb(pixels, "b-w" if self.channel is not None else image.interpretation)

        anywhere = bool(self.tile or turned)
        strip = None if kept else self.height
        return Reader(image.width, image.height, rows, anywhere, strip, bool(self.tile and kept))

    def sample(self, pixels: int) -> np.ndarray:
        step = stride(self.width, self.height, pixels)
        image = self._image("sequential")
        samples = from_vips(image.subsample(min(step, image.width), min(step, image.height)))
        if self.channel is not None:
            return of_channel(samples, self.channel)
        return samples[..., :3] if image.bands >= 3 else samples[..., :1]

    def _image(self, access: str) -> pyvips.Image:
        options = {"access": access, "fail_on": "error"}
        if self.page is None:
            return pyvips.Image.new_from_file(str(self.path), **options)
        return pyvips.Image.new_from_source(self.page.source(), "", **options)
