"""Images that were decoded a moment ago, so that the second click on one is quick."""

from __future__ import annotations

import threading

import numpy as np
from cachetools import TTLCache

BYTES = 200_000_000  # of all images kept; one of more is decoded at every click
SECONDS = 900.0  # an image behind an address may change

Key = tuple[int, str]  # the project and the image's address


class DecodedImages:
    """Keeps the images that were clicked on last; safe for threads.

    Args:
        size: Bytes that they take together.
    """

    def __init__(self, size: int = BYTES) -> None:
        self._kept: TTLCache[Key, np.ndarray] = TTLCache(
            size, SECONDS, getsizeof=lambda pixels: pixels.nbytes
        )
        self._lock = threading.Lock()

    def find(self, key: Key) -> np.ndarray | None:
        """Find an image, (H, W, 3) uint8 RGB; None where it was not decoded lately."""
        with self._lock:
            return self._kept.get(key)

    def keep(self, key: Key, pixels: np.ndarray) -> None:
        """Keep an image, which must not be changed any more."""
        with self._lock:
            if pixels.nbytes <= self._kept.maxsize:
                self._kept[key] = pixels
