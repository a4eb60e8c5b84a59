"""Very wide, compressed TIFFs, one strip decoded at a time.

libvips keeps several strips of what it reads from top to bottom: of a slide 100,000 px wide
they have 40 MB each. Here the one that is read is the only one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from tifffile import COMPRESSION

from ml_backend.images import UnreadableImage, as_rgb, stretched
from tasks.planes import CUT_OFF, Reader, of_channel

if TYPE_CHECKING:
    from tasks.tiff import Shades

LEAST, MOST = 8_000_000, 128_000_000  # bytes of a decoded strip; others libvips reads
CODECS = (
    *(COMPRESSION.LZW, COMPRESSION.PACKBITS),
    *(COMPRESSION.DEFLATE, COMPRESSION.ADOBE_DEFLATE),
)


def are_large(page: Any) -> bool:
    """Whether a page of grey values or RGB is best read here."""
    if page.is_tiled or page.compression not in CODECS:
        return False
    if page.planarconfig != tifffile.PLANARCONFIG.CONTIG and page.samplesperpixel > 1:
        return False
    if page.bitspersample != 8 * page.dtype.itemsize:
        return False
    return LEAST < math.prod(page.chunks) * page.dtype.itemsize <= MOST


@dataclass(frozen=True)
class Strips:
    """A page, `planes.Stored` and `tiff.Sampled`. shades: of samples of more than 8 bits."""

    path: Path
    page: int
    width: int
    height: int
    deep: bool
    shades: Shades
    channel: int | None

    def reader(self) -> Reader:
        limits = self.shades.limits() if self.deep else None
        strips = self._strips()
        first, strip = 0, np.zeros((0, 0, 0))  # the row that it starts at; its pixels

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            nonlocal first, strip
            parts = []
            while top < bottom:
                if top >= first + len(strip):
                    first += len(strip)
                    strip = strip[:0].copy()  # two would take twice the memory
                    strip = next(strips)
                    continue
                end = min(bottom, first + len(strip))
                parts.append(strip[top - first : end - first, left:right])
                top = end
            part = of_channel(parts[0] if len(parts) == 1 else np.concatenate(parts), self.channel)
            return as_rgb(part, "srgb") if limits is None else stretched(part, limits)

        return Reader(self.width, self.height, rows, anywhere=False)

    def sample(self, pixels: int) -> np.ndarray:
        step = max(1, math.isqrt(self.width * self.height // max(1, pixels)))
        samples, top = [], 0
        for strip in self._strips():
            samples.append(of_channel(strip[-top % step :: step, ::step], self.channel).copy())
            top += len(strip)
        return np.concatenate(samples)

    def _strips(self) -> Iterator[np.ndarray]:
        """(rows, W, C) of each, from the top. Raises UnreadableImage."""
        with tifffile.TiffFile(self.path) as file:
            page: Any = file.pages[self.page]
            parts = zip(page.dataoffsets, page.databytecounts, strict=True)
            for number, (start, size) in enumerate(parts):
                file.filehandle.seek(start)
                try:
                    strip = page.decode(file.filehandle.read(size), number)[0]
                except Exception as error:  # every codec has a kind of its own
                    raise UnreadableImage(CUT_OFF) from error
                if strip is None:
                    raise UnreadableImage(CUT_OFF)
                yield strip[0]
                del strip
