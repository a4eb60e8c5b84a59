"""A plane of a scan, read window by window or part by part, whatever it is stored in.

A plane is opened by a `Reader`, which gives the pixels of any rectangle, or, where a file
can only be read from top to bottom, of one row of strips after the other. So memory does
not grow with the plane.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyvips  # type: ignore[import-untyped]

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.imaging.sliding_windows import InMemory, Window, cut, spans
from ml_backend.learners.detector.preprocess import halve

BAND_BYTES = 64_000_000  # of the rows that are kept of a plane read from top to bottom
STRIP = 256  # rows that are read at a time
STRIP_BYTES = 4_000_000  # of them, at most, where a plane is very wide

CUT_OFF = "the image is cut off or corrupt"

Rect = tuple[int, int, int, int]  # left, top, right, bottom, px
Rows = Callable[[int, int, int, int], np.ndarray]  # of a Rect: (H, W, 3) uint8 RGB


@dataclass(frozen=True)
class Showing:
    """How samples become what a person sees.

    channel: the one that is shown, from 0; else colours as colours, of separate channels
    the first. limits: what is black and white of samples that are not 8 bits, by the name of
    their type; of types that are not among them by percentiles of the file.
    """

    channel: int | None = None
    limits: tuple[tuple[str, float, float], ...] = ()

    def of(self, dtype: np.dtype) -> tuple[float, float] | None:
        """What is black and white of samples of a type, if that is known."""
        ranges = ((low, high) for name, low, high in self.limits if name == dtype.name)
        return next(ranges, None)


@dataclass(frozen=True)
class Reader:
    """An open plane. anywhere: rows may be asked for in any order, else each once, downwards.
    strip: how many of them are best read at a time. decoded: whether what is asked for twice
    is decoded twice."""

    width: int
    height: int
    rows: Rows
    anywhere: bool = True
    strip: int | None = None
    decoded: bool = False


class Stored(Protocol):
    """A plane in a file; width, height in px. Reading may raise UnreadableImage."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def reader(self) -> Reader: ...


class Decoded(InMemory):
    """A stored plane whose pixels are all there already."""

    def reader(self) -> Reader:
        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return self.pixels[top:bottom, left:right]

        return Reader(self.width, self.height, rows)


@dataclass(frozen=True)
class Missing:
    """What should be there and is not."""

    reason: str
    width: int = 1
    height: int = 1

    def reader(self) -> Reader:
        raise UnreadableImage(self.reason)


@dataclass
class ScanPlane:
    """A plane of a scan; `windows.Plane`. number: its page in the file, from 0.

    stack: planes with the same number show one place at several depths or in several
    channels. failure: why its windows ended early, where they did.
    """

    number: int
    stack: int
    plane: Stored
    failure: str | None = None

    @property
    def width(self) -> int:
        return self.plane.width

    @property
    def height(self) -> int:
        return self.plane.height

    def windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        """As of `windows.Plane`; ends early where the file cannot be read, see `failure`."""
        yield from self._guarded(lambda: _windows(self.plane, side, overlap, halved))

    def parts(self, rects: Sequence[Rect]) -> Iterator[tuple[int, np.ndarray]]:
        """(place in `rects`, pixels) of each rectangle, in one pass and in no fixed order.

        Ends early where the file cannot be read, see `failure`.
        """
        yield from self._guarded(lambda: _parts(self.plane.reader(), rects))

    def _guarded(self, read: Callable[[], Iterator]) -> Iterator:
        try:
            yield from read()
        except UnreadableImage as error:
            self.failure = error.reason
        except MemoryError:
            self.failure = "too large for the memory of this machine"
        except (pyvips.Error, OSError, ValueError):
            self.failure = CUT_OFF


def _windows(plane: Stored, side: int, overlap: int, halved: int) -> Iterator[Window]:
    if isinstance(plane, Decoded):  # nothing is copied
        yield from plane.windows(side, overlap)
        return
    reader = plane.reader()
    rows, columns = cut(reader.width, reader.height, side, overlap, 1 << halved)
    band = 3 * -(-reader.width >> halved) * -(-rows[0][1] >> halved)
    if not reader.anywhere or (reader.decoded and band <= BAND_BYTES):
        yield from _downwards(reader, rows, columns, overlap, halved)
        return
    for top, bottom in rows:
        for left, right in columns:
            yield Window(left, top, _whole(reader, (left, top, right, bottom), halved), halved)


def _whole(reader: Reader, rect: Rect, halved: int = 0) -> np.ndarray:
    """A rectangle of what can be read in any order, strip by strip."""
    left, top, right, bottom = rect
    pixels = _empty(right - left, bottom - top, halved)
    strip = _strip(right - left, halved, reader.strip)
    for start in range(top, bottom, strip):
        end = min(start + strip, bottom)
        _put(pixels, start - top, reader.rows(left, start, right, end), halved)
    return pixels


def _empty(width: int, height: int, halved: int) -> np.ndarray:
    """Room for so many px, halved."""
    return np.empty((-(-height >> halved), -(-width >> halved), 3), np.uint8)


def _put(pixels: np.ndarray, row: int, strip: np.ndarray, halved: int) -> None:
    """A strip, halved, into its place. row: px of the plane that are above it."""
    strip = halve(strip, halved)
    pixels[row >> halved : (row >> halved) + len(strip)] = strip


def _strip(width: int, halved: int, best: int | None = None) -> int:
    """Rows to read at a time of a plane of so many px a row, which can be halved."""
    most = best or min(STRIP, max(16, STRIP_BYTES // (3 * width)))
    return max(1, most >> halved) << halved


def _downwards(
    reader: Reader,
    rows: Sequence[tuple[int, int]],
    columns: Sequence[tuple[int, int]],
    overlap: int,
    halved: int,
) -> Iterator[Window]:
    """Windows of what is read from top to bottom: bands of them, each row read once.

    Bands of a very wide plane are lower than the windows should be, so that they stay within
    BAND_BYTES.
    """
    width, height = reader.width, reader.height
    tall = max(2 * overlap + 1, BAND_BYTES // (3 * -(-width >> halved)) << halved)
    if rows[0][1] > tall:
        rows = spans(height, tall, overlap, 1 << halved)
    band = _empty(width, rows[0][1], halved)
    first = read = 0  # rows of the plane: where the band starts, and how far it was read
    strip = _strip(width, halved)
    for top, bottom in rows:
        kept, moved = -(-(read - top) >> halved), (top - first) >> halved
        for row in range(0, kept, strip):  # piece by piece, which needs no copy of it all
            end = min(row + strip, kept)
            band[row:end] = band[moved + row : moved + end]
        for start in range(max(read, top), bottom, strip):
            end = min(start + strip, bottom)
            _put(band, start - top, reader.rows(0, start, width, end), halved)
        first, read = top, bottom
        for left, right in columns:
            part = np.s_[: -(-(bottom - top) >> halved), left >> halved : -(-right >> halved)]
            yield Window(left, top, band[part], halved)


def _parts(reader: Reader, rects: Sequence[Rect]) -> Iterator[tuple[int, np.ndarray]]:
    if reader.anywhere:
        for number, rect in enumerate(rects):
            yield number, _whole(reader, rect)
        return
    waiting = sorted(range(len(rects)), key=lambda number: -rects[number][1])
    filling: dict[int, np.ndarray] = {}
    high = _strip(reader.width, 0)
    for start in range(0, reader.height, high):
        if not waiting and not filling:
            return
        end = min(start + high, reader.height)
        strip = reader.rows(0, start, reader.width, end)
        while waiting and rects[waiting[-1]][1] < end:
            left, top, right, bottom = rects[waiting[-1]]
            filling[waiting.pop()] = np.empty((bottom - top, right - left, 3), np.uint8)
        for number in list(filling):
            left, top, right, bottom = rects[number]
            one, other = max(top, start), min(bottom, end)
            filling[number][one - top : other - top] = strip[
                one - start : other - start, left:right
            ]
            if other == bottom:
                yield number, filling.pop(number)


def of_channel(pixels: np.ndarray, channel: int | None) -> np.ndarray:
    """(H, W, C), or of one of its channels (H, W, 1)."""
    if channel is None:
        return pixels
    if channel >= pixels.shape[2]:
        raise UnreadableImage(f"there is no channel {channel}; it has {pixels.shape[2]}, from 0 on")
    return pixels[..., channel : channel + 1]
