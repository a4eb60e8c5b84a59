"""Images that were decoded a moment ago, so that the second click on one is quick."""

from __future__ import annotations

import numpy as np
from cachetools import TTLCache

from ml_backend.system.bounded_cache import BoundedCache

BYTES = 200_000_000  # of all images kept; one of more is decoded at every click
SECONDS = 900.0  # an image behind an address may change

Key = tuple[int, str]  # the project and the image's address


class DecodedImages(BoundedCache[Key, np.ndarray]):
    """Keeps the images that were clicked on last, (H, W, 3) uint8 RGB; safe for threads.

    Args:
        size: Bytes that they take together.
    """

    def __init__(self, size: int = BYTES) -> None:
        super().__init__(TTLCache(size, SECONDS, getsizeof=lambda pixels: pixels.nbytes))
