"""Looking at a plane through overlapping windows, so that memory does not grow with it.

The windows cover every pixel, and neighbours share a strip: an object no larger than the
strip lies whole in one of them. What is found in two of them is merged by
`merge_detections`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

# Of the side that windows may have: how high they are where a plane is cut. Low ones can be
# looked at when little of a plane is read, and little of it has to be kept.
LOW = 3 / 8


@dataclass(frozen=True)
class Window:
    """A part of a plane.

    Attributes:
        left: Its place in the plane, px.
        top: Its place in the plane, px.
        pixels: (H, W, 3) uint8 RGB; may be overwritten as soon as the next window is asked for.
        halved: How often they were halved; one then stands for 2**halved px each way, the last
            ones of which may lie beyond the plane.
    """

    left: int
    top: int
    pixels: np.ndarray
    halved: int = 0

    @property
    def width(self) -> int:
        """px of the plane."""
        return self.pixels.shape[1] << self.halved

    @property
    def height(self) -> int:
        """px of the plane."""
        return self.pixels.shape[0] << self.halved


class Plane(Protocol):
    """What can be looked at through windows: width and height in px, and the windows."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        """Read the windows of `plan_windows`, row by row.

        Args:
            side: Of the windows, at most, px.
            overlap: What neighbours share, at least, px.
            halved: How often their pixels may be halved.
        """
        ...


@dataclass(frozen=True)
class InMemoryPlane:
    """A plane whose pixels, (H, W, 3) uint8 RGB, are all there; its windows are views."""

    pixels: np.ndarray

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        rows, columns = plan_windows(self.width, self.height, side, overlap, 1 << halved)
        for top, bottom in rows:
            for left, right in columns:
                yield Window(left, top, self.pixels[top:bottom, left:right])


@dataclass(frozen=True)
class SingleWindow:
    """A window that is looked at by itself.

    Attributes:
        width: Of what it shows, px.
        height: Of what it shows, px.
        pixels: (H, W, 3) uint8 RGB of that, halved as often as they are fewer.
    """

    width: int
    height: int
    pixels: np.ndarray

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        times = 0
        while self.pixels.shape[1] << times < self.width:
            times += 1
        yield Window(0, 0, self.pixels, times)


def plan_windows(
    width: int, height: int, side: int, overlap: int, step: int = 1
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Plan the windows of a plane; one that is no larger than a window is one.

    Args:
        width: Of the plane, px.
        height: Of the plane, px.
        side: Of the windows, at most, px.
        overlap: What neighbours share, at least, px.
        step: Starts are multiples of it, px.

    Returns:
        (start, end) of the rows and of the columns, px.

    Raises:
        ValueError: So much cannot be shared.
    """
    low = min(side, max(int(LOW * side), 2 * overlap))
    if width * height <= side * low:
        return [(0, height)], [(0, width)]
    return plan_spans(height, low, overlap, step), plan_spans(width, side, overlap, step)


def plan_spans(length: int, side: int, overlap: int, step: int = 1) -> list[tuple[int, int]]:
    """Plan the starts and ends of the windows along a side of `length` px, in order.

    As few as can be, of equal length, at most `side` px, as far as whole numbers go, so that
    no more is looked at twice than has to be. Neighbours share at least `overlap` px. Starts
    are multiples of `step`.

    Raises:
        ValueError: So much cannot be shared.
    """
    if not 0 <= overlap < side:
        raise ValueError(f"windows of {side} px cannot share {overlap} px")
    if length <= side:
        return [(0, length)]
    # In steps; what the last one has too much lies beyond the side's end.
    shared, all_ = -(-overlap // step), -(-length // step)
    most = max(side // step, shared + 1)
    number = -(-(all_ - shared) // (most - shared))
    size = -(-(all_ + (number - 1) * shared) // number)
    starts = [i * (all_ - size) // max(1, number - 1) * step for i in range(number)]
    return [(start, min(start + size * step, length)) for start in starts]
