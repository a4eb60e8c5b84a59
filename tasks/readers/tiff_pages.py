"""Pages of a TIFF that tifffile decodes: very wide, compressed ones, and what libvips refuses.

libvips keeps several strips of what it reads from top to bottom: of a slide 100,000 px wide
they have 40 MB each. Here the one that is read is the only one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from tifffile import COMPRESSION

from ml_backend.imaging.decode import UnreadableImage
from tasks.readers.contrast import Contrast, choose_stride
from tasks.readers.planes import CUT_OFF, PlaneReader, select_channel

LEAST, MOST = 8_000_000, 128_000_000  # bytes of a decoded strip; others libvips reads
CODECS = (
    *(COMPRESSION.LZW, COMPRESSION.PACKBITS),
    *(COMPRESSION.DEFLATE, COMPRESSION.ADOBE_DEFLATE),
)


def has_large_strips(page: Any) -> bool:
    """Whether a page of grey values or RGB (tifffile's) is best read here."""
    if page.is_tiled or page.compression not in CODECS:
        return False
    if page.planarconfig != tifffile.PLANARCONFIG.CONTIG and page.samplesperpixel > 1:
        return False
    if page.bitspersample != 8 * page.dtype.itemsize:
        return False
    return LEAST < math.prod(page.chunks) * page.dtype.itemsize <= MOST


@dataclass(frozen=True)
class _Page:
    """contrast: of samples of more than 8 bits, which deep tells."""

    path: Path
    page: int
    width: int
    height: int
    deep: bool
    contrast: Contrast
    channel: int | None


class WholePlane(_Page):
    """A page that libvips refuses (see `vips_refuses`), read at once."""

    def reader(self) -> PlaneReader:
        """Open the plane."""
        render, pixels = self.contrast.make_renderer(self.deep), self._pixels()

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return render(pixels[top:bottom, left:right])

        return PlaneReader(self.width, self.height, rows)

    def sample(self, pixels: int) -> np.ndarray:
        """Read about so many of its px, evenly chosen: (H, W, C)."""
        step = choose_stride(self.width, self.height, pixels)
        return self._pixels()[::step, ::step]

    def _pixels(self) -> np.ndarray:
        with tifffile.TiffFile(self.path) as file:
            page: Any = file.pages[self.page]
            try:
                pixels = page.asarray()
            except Exception as error:  # every codec has a kind of its own
                raise UnreadableImage(CUT_OFF) from error
        return select_channel(pixels.reshape(*pixels.shape[:2], -1), self.channel)


class StripsPlane(_Page):
    """A page of large strips, one decoded at a time."""

    def reader(self) -> PlaneReader:
        """Open the plane."""
        render, strips = self.contrast.make_renderer(self.deep), self._strips()
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
            part = parts[0] if len(parts) == 1 else np.concatenate(parts)
            return render(select_channel(part, self.channel))

        return PlaneReader(self.width, self.height, rows, anywhere=False)

    def sample(self, pixels: int) -> np.ndarray:
        """Read about so many of its px, evenly chosen: (H, W, C)."""
        step = choose_stride(self.width, self.height, pixels)
        samples, top = [], 0
        for strip in self._strips():
            samples.append(select_channel(strip[-top % step :: step, ::step], self.channel).copy())
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
