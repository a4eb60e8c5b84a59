"""A plane of a scan, read window by window or part by part, whatever it is stored in.

A plane is opened by a `PlaneReader`, which gives the pixels of any rectangle, or, where a file
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
from ml_backend.imaging.sliding_windows import (
    InMemoryPlane,
    Window,
    halve,
    plan_spans,
    plan_windows,
)

BAND_BYTES = 64_000_000  # of the rows that are kept of a plane read from top to bottom
STRIP = 256  # rows that are read at a time
STRIP_BYTES = 4_000_000  # of them, at most, where a plane is very wide

CUT_OFF = "the image is cut off or corrupt"

Rect = tuple[int, int, int, int]  # left, top, right, bottom, px
Rows = Callable[[int, int, int, int], np.ndarray]  # of a Rect: (H, W, 3) uint8 RGB


@dataclass(frozen=True)
class Rendering:
    """How samples become what a person sees.

    Attributes:
        channel: The one that is shown, from 0; else colours as colours, of separate channels
            the first.
        limits: (name of the type, black, white) of samples that have more than 8 bits; of types
            that are not among them the file's own percentiles count.
    """

    channel: int | None = None
    limits: tuple[tuple[str, float, float], ...] = ()

    def limits_of(self, dtype: np.dtype) -> tuple[float, float] | None:
        """Return what is black and white of samples of a type; None where that is not known."""
        ranges = ((low, high) for name, low, high in self.limits if name == dtype.name)
        return next(ranges, None)


@dataclass(frozen=True)
class PlaneReader:
    """An open plane.

    Attributes:
        width: In px.
        height: In px.
        rows: Reads a rectangle: (left, top, right, bottom) in px to (H, W, 3) uint8 RGB.
        anywhere: Whether rows may be asked for in any order; else each once, downwards.
        strip: How many of them are best read at a time.
        decoded: Whether what is asked for twice is decoded twice.
    """

    width: int
    height: int
    rows: Rows
    anywhere: bool = True
    strip: int | None = None
    decoded: bool = False


class StoredPlane(Protocol):
    """A plane in a file; width and height in px."""

    @property
    def width(self) -> int:
        """In px."""
        ...

    @property
    def height(self) -> int:
        """In px."""
        ...

    def reader(self) -> PlaneReader:
        """Open it.

        Raises:
            UnreadableImage: It cannot be read.
        """
        ...


class DecodedPlane(InMemoryPlane):
    """A stored plane whose pixels are all there already."""

    def reader(self) -> PlaneReader:
        """Give parts of the pixels."""

        def rows(left: int, top: int, right: int, bottom: int) -> np.ndarray:
            return self.pixels[top:bottom, left:right]

        return PlaneReader(self.width, self.height, rows)


@dataclass(frozen=True)
class MissingPlane:
    """What should be there and is not."""

    reason: str
    width: int = 1
    height: int = 1

    def reader(self) -> PlaneReader:
        """Raise UnreadableImage with the reason."""
        raise UnreadableImage(self.reason)


@dataclass
class ScanPlane:
    """A plane of a scan, as `sliding_windows.Plane` has it.

    Attributes:
        number: Its page in the file, from 0, or what the file's name says.
        stack: Planes with the same number show one place at several depths or in several
            channels.
        plane: Where its pixels are.
        failure: Why reading it ended early, in one line; None where it did not.
    """

    number: int
    stack: int
    plane: StoredPlane
    failure: str | None = None

    @property
    def width(self) -> int:
        """In px."""
        return self.plane.width

    @property
    def height(self) -> int:
        """In px."""
        return self.plane.height

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        """Read it window by window, in their order.

        Ends early where the file cannot be read; `failure` says why then.

        Args:
            side: Of the windows, at most, px.
            overlap: What neighbours share, at least, px.
            halved: How often their pixels may be halved.

        Yields:
            The windows of `plan_windows`, row by row.
        """
        yield from self._guarded(lambda: _windows(self.plane, side, overlap, halved))

    def read_parts(self, rects: Sequence[Rect]) -> Iterator[tuple[int, np.ndarray]]:
        """Read rectangles in one pass, in no fixed order.

        Ends early where the file cannot be read; `failure` says why then.

        Yields:
            (place in `rects`, pixels (H, W, 3) uint8 RGB) of each.
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


def _windows(plane: StoredPlane, side: int, overlap: int, halved: int) -> Iterator[Window]:
    if isinstance(plane, DecodedPlane):  # nothing is copied
        yield from plane.read_windows(side, overlap)
        return
    reader = plane.reader()
    rows, columns = plan_windows(reader.width, reader.height, side, overlap, 1 << halved)
    band = 3 * -(-reader.width >> halved) * -(-rows[0][1] >> halved)
    if not reader.anywhere or (reader.decoded and band <= BAND_BYTES):
        yield from _downwards(reader, rows, columns, overlap, halved)
        return
    for top, bottom in rows:
        for left, right in columns:
            yield Window(left, top, _whole(reader, (left, top, right, bottom), halved), halved)


def _whole(reader: PlaneReader, rect: Rect, halved: int = 0) -> np.ndarray:
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
    reader: PlaneReader,
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
        rows = plan_spans(height, tall, overlap, 1 << halved)
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


def _parts(reader: PlaneReader, rects: Sequence[Rect]) -> Iterator[tuple[int, np.ndarray]]:
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
            first, last = max(top, start), min(bottom, end)
            filling[number][first - top : last - top] = strip[
                first - start : last - start, left:right
            ]
            if last == bottom:
                yield number, filling.pop(number)


def select_channel(pixels: np.ndarray, channel: int | None) -> np.ndarray:
    """Return all channels of (H, W, C), or one of them: (H, W, 1).

    Raises:
        UnreadableImage: There is no such channel.
    """
    if channel is None:
        return pixels
    if channel >= pixels.shape[2]:
        raise UnreadableImage(f"there is no channel {channel}; it has {pixels.shape[2]}, from 0 on")
    return pixels[..., channel : channel + 1]
