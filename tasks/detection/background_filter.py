"""Tiles that show nothing but background, known without the detector.

A tile is empty where its greys, averaged so that noise fades and an object stays, spread no
wider than the scan's noise can make them. A slope of the light widens the spread and makes a
tile be looked at, which is the safe side. One in a hundred of the empty ones is looked at
all the same: what is found there says what the others may hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.dataset.split import hash_to_unit

RUN = 0.01  # of the empty tiles, looked at all the same
MEASURED = 48  # tiles of a scan that its noise is taken from
LEAST_NOISE = 0.5  # grey values; rounding to whole ones alone makes 0.3
SQUARE = 2  # input px a side that are averaged; an object has a tenfold
SPREAD = 5.0  # times the noise; what flat background stays below


@dataclass(frozen=True)
class EmptyWindows:
    """Counts of the windows that showed nothing but background.

    Attributes:
        skipped: Not looked at.
        run: Looked at all the same, as a check.
        missed: Of those, the ones with an object.
    """

    skipped: int = 0
    run: int = 0
    missed: int = 0

    def __add__(self, other: EmptyWindows) -> EmptyWindows:
        return EmptyWindows(
            self.skipped + other.skipped, self.run + other.run, self.missed + other.missed
        )

    def describe(self) -> str:
        """Return one line for the end of a scan; empty where nothing was skipped or run."""
        if not self.skipped + self.run:
            return ""
        counts = f"{self.skipped} tiles were skipped as empty and {self.run} looked at all the same"
        if not self.missed:
            return f"{counts}: nothing was missed there"
        about = round(self.skipped * self.missed / self.run)
        return (
            f"{counts}: {self.missed} of these showed something, so about {about} of the skipped "
            "may do so; go without --skip-empty"
        )


@dataclass(frozen=True)
class Background:
    """The background of a scan.

    Attributes:
        noise: Its standard deviation, grey values of 256.
        side: Of the squares that are averaged, px; small beside an object.
    """

    noise: float
    side: int

    @classmethod
    def measure(cls, tiles: Iterable[np.ndarray], side: int) -> Background:
        """Measure it on some tiles of the scan: the median of their noise.

        Args:
            tiles: (H, W, 3) uint8 RGB.
            side: See `Background`.
        """
        found = [measure_noise(tile) for tile in tiles]
        return cls(float(np.median(found)) if found else 0.0, side)

    def is_empty(self, pixels: np.ndarray, halved: int = 0) -> bool:
        """Whether a window shows nothing but background.

        Args:
            pixels: (H, W, 3) uint8 RGB.
            halved: How often they were halved.
        """
        height, width = pixels.shape[:2]
        side = max(1, self.side >> halved)
        size = max(1, width // side), max(1, height // side)
        squares = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        spread = np.ptp(squares.reshape(-1, 3), axis=0).max()
        return bool(spread < SPREAD * max(self.noise, LEAST_NOISE))


def measure_noise(pixels: np.ndarray) -> float:
    """Measure the standard deviation of the background of a tile (H, W, 3) uint8, grey values.

    By the differences of neighbours, whose median objects do not move (1.4826 times the median
    absolute deviation is the standard deviation of normal numbers; two of them differ by the
    root of two times as much).
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.int16)
    steps = np.diff(grey, axis=1)
    if not steps.size:
        return 0.0
    return float(1.4826 * np.median(np.abs(steps - np.median(steps))) / np.sqrt(2))


def is_spot_check(key: str) -> bool:
    """Whether an empty tile is one of the hundredth that is looked at, by its key alone."""
    return hash_to_unit(f"cytoloop empty/{key}") < RUN
