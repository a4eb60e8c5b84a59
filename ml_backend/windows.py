"""Looking at a plane through overlapping windows, so that memory does not grow with it.

The windows cover every pixel, and neighbours share a strip: an object no larger than the
strip lies whole in one of them. What finds the same object in two of them knows it by
`seams`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Window:
    """A part of a plane. left, top: its place there, in px.

    pixels: (H, W, 3) uint8 RGB; may be overwritten as soon as the next window is asked for.
    """

    left: int
    top: int
    pixels: np.ndarray


class Plane(Protocol):
    """What can be looked at through windows: width and height in px, and the windows."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def windows(self, side: int, overlap: int) -> Iterator[Window]:
        """Windows of at most side × side px that share `overlap` px, row by row."""
        ...


@dataclass(frozen=True)
class InMemory:
    """A plane whose pixels, (H, W, 3) uint8 RGB, are all there; its windows are views."""

    pixels: np.ndarray

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def windows(self, side: int, overlap: int) -> Iterator[Window]:
        for top, bottom in spans(self.height, side, overlap):
            for left, right in spans(self.width, side, overlap):
                yield Window(left, top, self.pixels[top:bottom, left:right])


def spans(length: int, side: int, overlap: int) -> list[tuple[int, int]]:
    """Starts and ends of the windows along a side of `length` px, in order.

    Neighbours share at least `overlap` px; the last window ends where the side does, and
    all are `side` px long where that fits. overlap must be less than side.
    """
    if not 0 <= overlap < side:
        raise ValueError(f"windows of {side} px cannot share {overlap} px")
    if length <= side:
        return [(0, length)]
    starts = [*range(0, length - side, side - overlap), length - side]
    return [(start, start + side) for start in starts]
