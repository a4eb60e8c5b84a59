"""Opening an image file: its header once, then its planes.

What is small is decoded at once, as a browser shows it (`ml_backend.imaging.decode`). What is
large or has several pages is read as its layout allows (`planes`, `tiff`, `ome_zarr`, `vendor`).
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import pyvips  # type: ignore[import-untyped]

from ml_backend.imaging.decode import MAX_BYTES, TIFF, UnreadableImage, decode
from ml_backend.imaging.pixel_size import read_file_pixel_size
from ml_backend.system.numbers import LONGEST_SIDE
from ml_backend.system.plain_files import find_obstacle
from tasks.readers import ome_zarr, tiff, vendor
from tasks.readers.contrast import SAMPLED_PLANES, SampledPlane, measure_limits
from tasks.readers.header import Header
from tasks.readers.planes import DecodedPlane, Rendering, ScanPlane

PNG = b"\x89PNG"
JPEG = b"\xff\xd8\xff"
MOST_PIXELS = 10**11  # of a plane; a whole slide at 40 times has some 4 · 10^10
WHOLE_PIXELS = 16_000_000  # what is not larger is decoded at once: 48 MB


def examine(path: Path, channel: int | None = None) -> Header:
    """Read the header of an image file, and none of its pixels.

    Args:
        path: The file, or the folder of an OME-Zarr.
        channel: The one that is looked at, from 0; else colours, or the first.

    Returns:
        What the file says of itself; a file that cannot be read has `Header.failure`, or
        neither planes nor size, and decoding says what is wrong with it.
    """
    return _examine(path, channel)[0]


def open_scan(
    path: Path, rendering: Rendering = Rendering(), header: Header | None = None
) -> list[ScanPlane]:
    """Open an image file.

    Reduced copies (pyramids), masks and the channels that were not chosen are no planes. May
    be called from several threads; a plane is read by one.

    Args:
        path: The file, or the folder of an OME-Zarr.
        rendering: How its samples are shown.
        header: Of the file, where it was examined before, with the channel of `rendering`.

    Returns:
        Its planes, at least one, in the order of the file.

    Raises:
        UnreadableImage: It cannot be read; names the file.
    """
    content: bytes | None = None
    if header is None:
        header, content = _examine(path, rendering.channel, rendering)
    if header.failure:
        raise UnreadableImage(header.failure, str(path))
    if not header.planes or _is_whole(header, rendering):
        return [_decode_plane(path, content, None if header.planes else rendering.channel)]
    for contrast in header.contrasts:
        contrast.apply(rendering)
    return [replace(plane) for plane in header.planes]  # a plane keeps how its reading ended


def _examine(
    path: Path, channel: int | None, reading: Rendering | None = None
) -> tuple[Header, bytes | None]:
    """A file's header; and its content where it is to be decoded at once, read while it is open.

    reading: how it will be shown, where it is read right away.
    """
    content = None
    if obstacle := find_obstacle(path):
        return Header(path, "image", failure=obstacle), None
    try:
        if ome_zarr.is_store(path):
            header = ome_zarr.examine(path, channel)
        elif vendor.is_vendor_file(path):
            header = vendor.examine(path, channel)
        else:
            with path.open("rb") as file:
                header = _examine_file(path, file, channel)
                whole = not header.planes or reading is not None and _is_whole(header, reading)
                if reading is not None and whole and not header.failure:
                    content = _read_whole(file)
    except UnreadableImage as error:
        header = Header(path, "image", failure=error.reason)
    except (pyvips.Error, OSError, struct.error):
        header = Header(path, "image")  # decoding says what is wrong
    if failure := _find_bad_size(header.planes):
        header = Header(path, header.kind, failure=failure)
    return header, content


def _find_bad_size(planes: Sequence[ScanPlane]) -> str:
    """Find whether the size of a plane is that of no image; "" where all are sound."""
    for plane in planes:
        if plane.width < 1 or plane.height < 1:
            return "a plane of it has no pixels"
        longest = max(plane.width, plane.height)
        if longest > LONGEST_SIDE or plane.width * plane.height > MOST_PIXELS:
            return "a plane of it promises more pixels than any image has"
    return ""


def _examine_file(path: Path, file: BinaryIO, channel: int | None) -> Header:
    start = file.read(24)
    if start.startswith(TIFF):
        file.seek(0)
        return tiff.examine(path, file, channel)
    if start.startswith(PNG):  # its sides stand at its start
        width, height = struct.unpack(">II", start[16:])
        if width * height <= WHOLE_PIXELS:
            return Header(path, "image", size=(width, height))
    if start.startswith((PNG, JPEG)):
        image = pyvips.Image.new_from_file(str(path), access="sequential")
        turned = image.get_typeof("orientation") and image.get("orientation") > 4
        size = (image.height, image.width) if turned else (image.width, image.height)
        if math.prod(size) <= WHOLE_PIXELS:
            return Header(path, "image", size=size)
        plane = tiff.VipsPlane(path, None, *size, 0, None, channel)
        return Header(path, "image", (ScanPlane(0, 0, plane),), size=size)
    return Header(path, "image")


def _is_whole(header: Header, rendering: Rendering) -> bool:
    """Whether a file of planes is decoded at once all the same: a small TIFF, shown as it is."""
    if header.kind != "tiff" or rendering != Rendering() or len(header.planes) > 1:
        return False
    plane = header.planes[0]
    return plane.width * plane.height <= WHOLE_PIXELS


def _read_whole(file: BinaryIO) -> bytes | None:
    """All of an open file; None where it is too large, which decoding says."""
    if os.fstat(file.fileno()).st_size > MAX_BYTES:
        return None
    file.seek(0)
    return file.read()


def _decode_plane(path: Path, content: bytes | None, channel: int | None) -> ScanPlane:
    pixels = decode(path) if content is None else decode(content, name=str(path))
    if channel is not None:
        if channel > 2:
            raise UnreadableImage(f"there is no channel {channel}", str(path))
        pixels = pixels[..., [channel] * 3]
    return ScanPlane(0, 0, DecodedPlane(pixels))


@lru_cache(maxsize=4096)
def read_pixel_size(path: Path) -> float | None:
    """Read how many µm a pixel shows, by a file's metadata; None where they do not say."""
    if vendor.is_vendor_file(path) or ome_zarr.is_store(path):
        return examine(path).pixel_size
    return read_file_pixel_size(path)


def measure_common_limits(headers: Sequence[Header]) -> tuple[tuple[str, float, float], ...]:
    """Measure what is black and white in all of these files; see `Rendering.limits`.

    What cannot be read is left out here; the reason is given when it is its turn.
    """
    deep = []
    for header in headers:
        try:
            stored = [plane.plane for plane in header.planes]
            deep += [plane for plane in stored if isinstance(plane, SampledPlane) and plane.deep]
        except (pyvips.Error, OSError):
            continue
    return measure_limits(deep)


def choose_sampled(paths: Sequence[Path]) -> list[Path]:
    """Choose the TIFFs, evenly, whose samples say what is black and white in all files."""
    tiffs = [path for path in paths if path.suffix.lower() in (".tif", ".tiff")]
    step = max(1, math.ceil(len(tiffs) / SAMPLED_PLANES))
    return tiffs[step // 2 :: step]
