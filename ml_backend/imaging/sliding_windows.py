"""Sliding windows over a plane, so that memory does not grow with the plane.

The windows cover every pixel, and neighbours overlap: an object no larger than the overlap
lies whole in one of them. `merge_detections` merges what several windows show of one object.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

# The height of the windows of a split plane, as a share of their greatest side. Low windows can
# be looked at when little of the plane is read, and little of it has to be kept.
LOW = 3 / 8


@dataclass(frozen=True)
class Window:
    """A part of a plane.

    Attributes:
        left: Of the window's left edge in the plane, px.
        top: Of its upper edge, px.
        pixels: (H, W, 3) uint8 RGB; may be overwritten as soon as the next window is asked for.
        halved: How often the pixels were halved; each then stands for 2**halved px each way, the
            last ones of which may lie beyond the plane.
    """

    left: int
    top: int
    pixels: np.ndarray
    halved: int = 0

    @property
    def width(self) -> int:
        """Width in px of the plane."""
        return self.pixels.shape[1] << self.halved

    @property
    def height(self) -> int:
        """Height in px of the plane."""
        return self.pixels.shape[0] << self.halved


class Plane(Protocol):
    """An image that is read through windows."""

    @property
    def width(self) -> int:
        """Width in px."""
        ...

    @property
    def height(self) -> int:
        """Height in px."""
        ...

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        """Read the windows of `plan_windows`, row by row.

        Args:
            side: Of a window, px of the plane.
            overlap: Of neighbours, px of the plane.
            halved: How often the pixels of a window may be halved.
        """
        ...


@dataclass(frozen=True)
class InMemoryPlane:
    """A plane whose pixels, (H, W, 3) uint8 RGB, are in memory; its windows share them."""

    pixels: np.ndarray

    @property
    def width(self) -> int:
        """Width in px."""
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        """Height in px."""
        return self.pixels.shape[0]

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        """See `Plane.read_windows`; nothing is halved, because the pixels are there."""
        rows, columns = plan_windows(self.width, self.height, side, overlap, 1 << halved)
        for top, bottom in rows:
            for left, right in columns:
                yield Window(left, top, self.pixels[top:bottom, left:right])


@dataclass(frozen=True)
class SingleWindow:
    """A plane that is one window, whatever its size.

    Attributes:
        width: Of what it shows, px.
        height: Likewise.
        pixels: (H, W, 3) uint8 RGB, possibly halved a few times.
    """

    width: int
    height: int
    pixels: np.ndarray

    def read_windows(self, side: int, overlap: int, halved: int = 0) -> Iterator[Window]:
        """See `Plane.read_windows`."""
        times = 0
        while self.pixels.shape[1] << times < self.width:
            times += 1
        yield Window(0, 0, self.pixels, times)


def plan_windows(
    width: int, height: int, side: int, overlap: int, step: int = 1
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Plan the overlapping windows of a plane; one no larger than a window stays whole.

    Args:
        width: Of the plane, px.
        height: Of the plane, px.
        side: Of a window, px, at most; windows of a split plane are LOW times as high.
        overlap: Of neighbours, px, at least.
        step: Starts are multiples of it.

    Returns:
        (top, bottom) of each row and (left, right) of each column, in px.
    """
    low = min(side, max(int(LOW * side), 2 * overlap))
    if width * height <= side * low:
        return [(0, height)], [(0, width)]
    return plan_spans(height, low, overlap, step), plan_spans(width, side, overlap, step)


def plan_spans(length: int, side: int, overlap: int, step: int = 1) -> list[tuple[int, int]]:
    """Plan the overlapping spans of a side of a plane, in order.

    As few as possible and of equal length, so that no more pixels are looked at twice than
    necessary.

    Args:
        length: Of the side, px.
        side: Of a span, px, at most.
        overlap: Of neighbours, px, at least.
        step: Starts are multiples of it.

    Raises:
        ValueError: The overlap is not smaller than a span.
    """
    if not 0 <= overlap < side:
        raise ValueError(f"windows of {side} px cannot share {overlap} px")
    if length <= side:
        return [(0, length)]
    # In steps; the last span may reach beyond the end of the side.
    shared, all_ = -(-overlap // step), -(-length // step)
    most = max(side // step, shared + 1)
    number = -(-(all_ - shared) // (most - shared))
    size = -(-(all_ + (number - 1) * shared) // number)
    starts = [i * (all_ - size) // max(1, number - 1) * step for i in range(number)]
    return [(start, min(start + size * step, length)) for start in starts]


def halve(image: np.ndarray, times: int) -> np.ndarray:
    """Replace every four pixels by their mean, `times` times.

    Args:
        image: (H, W, 3) uint8. Odd sides are rounded up, as if the last pixel were there twice.
        times: How often.
    """
    for _ in range(times):
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            edges = (0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            image = cv2.copyMakeBorder(image, *edges)
            height, width = image.shape[:2]
        image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return image
