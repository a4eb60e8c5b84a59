"""A file of a microscope as planes.

What is small is decoded at once, as a browser shows it (`ml_backend.imaging.decode`). What is large
or has several pages is read as its layout allows (`planes`, `tiff`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import pyvips  # type: ignore[import-untyped]

from ml_backend.imaging.decode import TIFF, UnreadableImage, decode
from ml_backend.imaging.pixel_size import read_file_pixel_size
from tasks.readers import ome_zarr, vendor
from tasks.readers.contrast import SAMPLED_PLANES, Sampled, ranges
from tasks.readers.planes import Decoded, ScanPlane, Showing
from tasks.readers.tiff import Read, planes_of

PNG = b"\x89PNG"
WHOLE_PIXELS = 16_000_000  # what is not larger is decoded at once: 48 MB


def open_scan(path: Path, showing: Showing = Showing()) -> list[ScanPlane]:
    """The planes of an image file, at least one, in the order of the file.

    Reduced copies (pyramids), masks and the channels that were not chosen are no planes. May
    be called from several threads; a plane is read by one. Raises UnreadableImage, naming
    the file.
    """
    try:
        if ome_zarr.is_store(path):
            return ome_zarr.planes_of(path, showing)
        if vendor.is_vendor_file(path):
            return vendor.planes_of(path, showing)
        with path.open("rb") as file:
            start = file.read(24)
        if start.startswith(TIFF):
            planes = planes_of(path, showing)
            if len(planes) == 1 and _is_small(planes[0]) and showing == Showing():
                return [_whole(path)]
            return planes or [_whole(path)]
        # A PNG's sides stand at its start: a small one need not be opened twice.
        if start.startswith(PNG) and math.prod(struct.unpack(">II", start[16:])) <= WHOLE_PIXELS:
            return [_whole(path, showing)]
        if start.startswith((PNG, b"\xff\xd8\xff")):
            image = pyvips.Image.new_from_file(str(path), access="sequential")
            if image.width * image.height > WHOLE_PIXELS:
                turned = image.get_typeof("orientation") and image.get("orientation") > 4
                size = (image.height, image.width) if turned else (image.width, image.height)
                return [ScanPlane(0, 0, Read(path, None, *size, 0, None, showing.channel))]
    except UnreadableImage as error:
        raise UnreadableImage(error.reason, str(path)) from error
    except (pyvips.Error, OSError, struct.error):
        pass  # decoding says what is wrong
    return [_whole(path, showing)]


def _is_small(plane: ScanPlane) -> bool:
    return plane.width * plane.height <= WHOLE_PIXELS


def _whole(path: Path, showing: Showing = Showing()) -> ScanPlane:
    pixels = decode(path)
    if showing.channel is not None:
        if showing.channel > 2:
            raise UnreadableImage(f"there is no channel {showing.channel}", str(path))
        pixels = pixels[..., [showing.channel] * 3]
    return ScanPlane(0, 0, Decoded(pixels))


@lru_cache(maxsize=4096)
def pixel_size(path: Path) -> float | None:
    """µm that a pixel shows, by a file's metadata; None where they do not say."""
    if vendor.is_vendor_file(path):
        return vendor.pixel_size(path)
    return ome_zarr.pixel_size(path) if ome_zarr.is_store(path) else read_file_pixel_size(path)


def common_limits(
    paths: Sequence[Path], channel: int | None
) -> tuple[tuple[str, float, float], ...]:
    """What is black and white in all of these files, as of `Showing`.

    By some of the TIFFs, evenly chosen. What cannot be read is said when it is its turn.
    """
    tiffs = [path for path in paths if path.suffix.lower() in (".tif", ".tiff")]
    step = max(1, math.ceil(len(tiffs) / SAMPLED_PLANES))
    deep = []
    for path in tiffs[step // 2 :: step]:
        try:
            planes = planes_of(path, Showing(channel))
            stored = [plane.plane for plane in planes]
            deep += [one for one in stored if isinstance(one, Sampled) and one.deep]
        except (UnreadableImage, pyvips.Error, OSError):
            continue
    return ranges(deep)
