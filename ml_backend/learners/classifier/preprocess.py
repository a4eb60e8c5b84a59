"""What training and serving do to an image alike: a square of the network's size."""

from __future__ import annotations

import cv2
import numpy as np


def to_square(image: np.ndarray, size: int) -> np.ndarray:
    """Fit an image into a square, its aspect kept and its border mirrored outwards.

    Args:
        image: (H, W, 3) uint8 RGB.
        size: Side of the square, in pixels.

    Returns:
        (size, size, 3) uint8.
    """
    height, width = image.shape[:2]
    longest = max(height, width)
    across = max(1, round(size * width / longest))
    down = max(1, round(size * height / longest))
    smaller = size < longest
    resized = cv2.resize(
        image, (across, down), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    )
    left, top = (size - across) // 2, (size - down) // 2
    return cv2.copyMakeBorder(
        resized, top, size - down - top, left, size - across - left, cv2.BORDER_REFLECT
    )
