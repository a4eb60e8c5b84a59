"""The planes of a TIFF, each read as its layout allows.

Uncompressed ones are mapped into memory, tiled ones read window by window, and all others
from top to bottom, each row once (very wide ones, and what libvips refuses, by `pages`).
16-bit and float samples are shown between two percentiles of the whole scan, not of a window: a
cell looks alike wherever it lies.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyvips  # type: ignore[import-untyped]
import tifffile

from ml_backend.imaging.decode import (
    DTYPES,
    UnreadableImage,
    convert_to_8_bit_srgb,
    convert_to_rgb,
    is_refused_by_vips,
    read_vips_pixels,
    stretch_contrast,
)
from ml_backend.imaging.pixel_size import (
    parse_ome_pixel_size,
    parse_ome_pixels,
    read_imagej_pixel_size,
)
from ml_backend.system.numbers import parse_whole_number
from tasks.readers.contrast import Contrast, choose_stride
from tasks.readers.header import Header, find_no_pixel_size
from tasks.readers.planes import (
    MissingPlane,
    PlaneReader,
    ScanPlane,
    StoredPlane,
    select_channel,
)
from tasks.readers.tiff_pages import StripsPlane, WholePlane, has_large_strips

# Of rows of tiles that may be kept, so that none is decoded twice. Windows of a mosaic 12,000 px
# wide in tiles by deflate are read three to five times as fast with it, for some 60 MB
# (`benchmarks/tiff_readers.py`).
TILES_BYTES = 64_000_000

LOST = "the file is cut off here, and what follows is lost"
LOOP = "its pages lead back to an earlier one; only the first is read"

# What metadata promise beside what the file has: a page of no samples takes a few bytes of it.
_PROMISES = 16


def examine(path: Path, opened: BinaryIO, channel: int | None) -> Header:
    """Read the header of a TIFF.

    Reduced copies (pyramids) and masks are no planes.

    Args:
        path: The file, which the planes are read from later.
        opened: The same, open at its start.
        channel: The one that is looked at, from 0; else colours, or the first.

    Returns:
        Its planes in the order of the file; none where tifffile cannot read it.

    Raises:
        OSError: It cannot be read.
    """
    ome, failure, find_pixel_size = "", "", find_no_pixel_size
    planes: list[ScanPlane] = []
    contrasts: list[Contrast] = []
    try:
        with tifffile.TiffFile(opened) as file:
            pages, is_loop = _count_pages(file)
            _check_promises(file, pages)
            if is_loop:
                planes, contrasts = _read_first(path, file, channel)
                planes.append(ScanPlane(len(planes), -1, MissingPlane(LOOP)))
                sides = planes[0].width, planes[0].height
                return Header(path, "tiff", tuple(planes), tuple(contrasts), sides)
            if path.suffix.lower() in (".tif", ".tiff"):
                ome, find_pixel_size = _metadata(file)
            planes, contrasts = _pages(path, file, channel)
            cut = _following(file, file.pages[-1])[1] != 0
            # ImageJ names the number of its planes, and may store them behind a single page.
            described = (file.imagej_metadata or {}).get("images", 1)
            channels = (file.imagej_metadata or {}).get("channels", 1)
            if cut or len(planes) < described // channels:
                planes.append(ScanPlane(len(planes), -1, MissingPlane(LOST)))
    except UnreadableImage as error:
        failure = error.reason
    except OSError:
        raise
    except Exception:  # whatever tifffile stumbles over; libvips may still read it
        planes = []
    size = (planes[0].width, planes[0].height) if planes else None
    return Header(
        path, "tiff", tuple(planes), tuple(contrasts), size, failure, ome, find_pixel_size
    )


def _count_pages(file: tifffile.TiffFile) -> tuple[int, bool]:
    """How many pages a file has, by their chain, and whether the chain leads back to one of them.

    Only the numbers of tags and the offsets are read, without a page for each.
    """
    form, handle, size = file.tiff, file.filehandle, file.filehandle.size
    seen: set[int] = set()
    offset = file.pages.first.offset
    while 0 < offset < size and offset not in seen:
        seen.add(offset)
        handle.seek(offset)
        head = handle.read(form.tagnosize)
        if len(head) < form.tagnosize:
            break
        (tags,) = struct.unpack(form.tagnoformat, head)
        handle.seek(offset + form.tagnosize + tags * form.tagsize)
        named = handle.read(form.offsetsize)
        if len(named) < form.offsetsize:
            break
        (offset,) = struct.unpack(form.offsetformat, named)
    return len(seen), offset in seen


def _check_promises(file: tifffile.TiffFile, pages: int) -> None:
    """Hold the planes that metadata promise against the file, before anything is made for each.

    Raises:
        UnreadableImage: They are more than the file can hold.
    """
    promised = 1
    if file.is_ome and (ome := parse_ome_pixels(file.ome_metadata or "")) is not None:
        sizes = (parse_whole_number(ome.get(f"Size{axis}"), 1) for axis in "CZT")
        promised = math.prod(size or 1 for size in sizes)
    for described in file.shaped_metadata or () if file.is_shaped else ():
        shape = described.get("shape") or ()
        sides = [parse_whole_number(side, 0) for side in shape]
        if None in sides:
            raise UnreadableImage("its metadata give a shape that is none")
        promised = max(promised, math.prod(side or 1 for side in sides[:-2]))
    if file.is_imagej:
        promised = max(
            promised, parse_whole_number((file.imagej_metadata or {}).get("images")) or 1
        )
    page = file.pages.first
    plane = page.imagewidth * page.imagelength * page.samplesperpixel * max(1, page.bitspersample)
    # One page may be followed by the samples of others; compressed ones have a page each.
    stored = file.filehandle.size * 8 // max(1, plane)
    # A file of several (OME) knows the planes of the others too.
    if promised > _PROMISES * max(pages, stored, 65_536):
        raise UnreadableImage(
            f"its metadata promise {promised} planes, which a file of "
            f"{file.filehandle.size} bytes cannot hold"
        )


def _read_first(
    path: Path, file: tifffile.TiffFile, channel: int | None
) -> tuple[list[ScanPlane], list[Contrast]]:
    """The first page alone, where the chain of pages cannot be followed."""
    page: Any = file.pages.first
    contrast = Contrast(np.dtype(page.dtype))
    plane = VipsPlane(
        path,
        _Alone.of(path, file, page),
        page.imagewidth,
        page.imagelength,
        page.tilelength if page.is_tiled else 0,
        contrast if page.dtype != np.uint8 or not _is_plain(page) else None,
        channel,
    )
    contrast.planes.append(plane)
    return [ScanPlane(0, 0, plane)], [contrast]


def _metadata(file: tifffile.TiffFile) -> tuple[str, Callable[[], float | None]]:
    """OME-XML, and what finds the pixel size in it or in what ImageJ wrote."""
    try:
        if ome := file.ome_metadata:
            return ome, partial(parse_ome_pixel_size, ome)
        size = read_imagej_pixel_size(file)
        return "", lambda: size
    except Exception:  # tifffile raises whatever it stumbles over; the image is read later
        return "", find_no_pixel_size


def _pages(
    path: Path, file: tifffile.TiffFile, asked: int | None
) -> tuple[list[ScanPlane], list[Contrast]]:
    planes: list[ScanPlane] = []
    contrasts: list[Contrast] = []
    stacks = 0
    size = path.stat().st_size
    for series in file.series:
        page = series.keyframe
        if page.is_reduced or page.is_mask:
            continue
        depth = series.axes[: len(series.axes) - len(page.axes)]
        shape = series.shape[: len(depth)]
        channel = _channel(dict(zip(depth, shape, strict=True)), page, asked)
        sample = None if "C" in depth else asked
        contrast = Contrast(np.dtype(page.dtype))
        contrasts.append(contrast)
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
            plane: StoredPlane
            if mapped:
                plane = _MappedPlane.of(path, file, series, place, contrast, sample)
                number = page.index + place
            else:
                at_page: Any = series.pages[place]
                number = at_page.index
                if _end(at_page) > size:
                    planes.append(ScanPlane(number, stack, MissingPlane(LOST)))
                    continue
                sides = (page.imagewidth, page.imagelength)
                if _orientation(page) > 4:
                    sides = sides[::-1]
                plain, deep = _is_plain(page), page.dtype != np.uint8
                if plain and has_large_strips(page):
                    plane = StripsPlane(path, number, *sides, deep, contrast, sample)
                elif is_refused_by_vips(page):
                    plane = WholePlane(path, number, *sides, deep, contrast, sample)
                else:
                    alone = _Alone.of(path, file, at_page)
                    tile = page.tilelength if page.is_tiled else 0
                    shown = contrast if deep or not plain else None  # else 8 bits, as they are
                    plane = VipsPlane(path, alone, *sides, tile, shown, sample)
            contrast.planes.append(plane)
            planes.append(ScanPlane(number, stack, plane))
        stacks += len(times)
    return planes, contrasts


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
class _MappedPlane:
    """A plane whose samples lie one after the other in the file, from `offset`."""

    path: Path
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype
    contrast: Contrast
    channel: int | None

    @classmethod
    def of(
        cls,
        path: Path,
        file: tifffile.TiffFile,
        series: Any,
        place: int,
        contrast: Contrast,
        channel: int | None,
    ) -> _MappedPlane:
        page = series.keyframe
        shape = (page.imagelength, page.imagewidth, page.samplesperpixel)
        dtype = np.dtype(page.dtype).newbyteorder(file.byteorder)
        start = series.dataoffset + place * math.prod(shape) * dtype.itemsize
        return cls(path, start, shape, dtype, contrast, channel)

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

    def reader(self) -> PlaneReader:
        """Open the plane."""
        render = self.contrast.make_renderer(self.deep)

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            # Mapped anew each time: what was read counts as our memory until it is unmapped.
            part = np.array(self._samples()[top:bottom, left:right], self.dtype.newbyteorder("="))
            return render(select_channel(part, self.channel))

        return PlaneReader(self.width, self.height, rows)

    def sample(self, pixels: int) -> np.ndarray:
        """Read about so many of its px, evenly chosen: (H, W, C)."""
        step = choose_stride(self.width, self.height, pixels)
        samples = np.array(self._samples()[::step, ::step], self.dtype.newbyteorder("="))
        return select_channel(samples, self.channel)

    def _samples(self) -> np.ndarray:
        """Raises ValueError where the file is shorter."""
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


@dataclass(frozen=True)
class VipsPlane:
    """A plane that libvips reads: a page of a TIFF, or an image of another format.

    tile: height of the tiles that windows are read from in any order, 0 where it has none.
    contrast: of a TIFF's samples, where they may have more than 8 bits.
    """

    path: Path
    page: _Alone | None
    width: int
    height: int
    tile: int
    contrast: Contrast | None
    channel: int | None = None

    @property
    def deep(self) -> bool:
        """Whether its samples have to be stretched to be shown."""
        return self.contrast is not None and self._image("sequential").format != "uchar"

    def reader(self) -> PlaneReader:
        """Open the plane."""
        image = self._image("random" if self.tile else "sequential")
        turned = image.get_typeof("orientation") and image.get("orientation") > 1
        if turned:  # libvips then keeps the pixels in a temporary file, where they are many
            image = self._image("random").autorot()
        limits = self.contrast.limits() if self.contrast and image.format != "uchar" else None
        raw = limits is not None or self.channel is not None and image.format == "uchar"
        image = image if raw else convert_to_8_bit_srgb(image)
        region = pyvips.Region.new(image)
        # libvips keeps rows of tiles as long as an image is open.
        kept = turned or 2 * self.tile * self.width * image.bands <= TILES_BYTES

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            part = region
            if not kept:
                again = self._image("random")
                part = pyvips.Region.new(again if raw else convert_to_8_bit_srgb(again))
            width, height = right - left, bottom - top
            data = part.fetch(left, top, width, height)
            pixels = np.frombuffer(data, DTYPES[image.format]).reshape(height, width, image.bands)
            pixels = select_channel(pixels, self.channel)
            if limits is not None:
                return stretch_contrast(pixels, limits)
            return convert_to_rgb(
                pixels, "b-w" if self.channel is not None else image.interpretation
            )

        anywhere = bool(self.tile or turned)
        strip = None if kept else self.height
        twice = bool(self.tile and kept)
        return PlaneReader(image.width, image.height, rows, anywhere, strip, twice)

    def sample(self, pixels: int) -> np.ndarray:
        """Read about so many of its px, evenly chosen: (H, W, C)."""
        step = choose_stride(self.width, self.height, pixels)
        image = self._image("sequential")
        samples = read_vips_pixels(image.subsample(min(step, image.width), min(step, image.height)))
        if self.channel is not None:
            return select_channel(samples, self.channel)
        return samples[..., :3] if image.bands >= 3 else samples[..., :1]

    def _image(self, access: str) -> pyvips.Image:
        options = {"access": access, "fail_on": "error"}
        if self.page is None:
            return pyvips.Image.new_from_file(str(self.path), **options)
        return pyvips.Image.new_from_source(self.page.source(), "", **options)
