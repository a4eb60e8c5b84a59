"""An image as the network sees it, the same in training and in serving.

Images of one project are taken at one magnification, so they are resampled by one fixed
scale (a version stores it) instead of being fitted into a frame one by one: a cell keeps
its size whether it lies in a whole field or in a small tile of it.
"""

from __future__ import annotations

import cv2
import numpy as np

STRIDE = 32  # the coarsest grid of the detector; input sides are multiples of it
PADDING = 114  # the grey that ultralytics' pretrained networks know as 'outside'


def input_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width after resampling: whole pixels, at least 1."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def resample(image: np.ndarray, scale: float) -> np.ndarray:
    """image (H, W, 3) uint8 at `scale` input pixels per image pixel, at least 1 × 1."""
    height, width = image.shape[:2]
    size = input_size(height, width, scale)
    if size == (height, width):
        return image
    if scale >= 1:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    # Averaging over the source pixels keeps thin chromosomes that skipping would drop. Where
    # a mean of four, which OpenCV has a fast way for, can go first, the rest is less than
    # another half: interpolating between neighbours then skips no pixel, in a third of the time.
    if 0.25 < scale <= 0.5 and height % 2 == width % 2 == 0:
        image = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)


def pad(image: np.ndarray) -> np.ndarray:
    """image (H, W, 3) uint8, filled up at the right and the bottom to multiples of STRIDE."""
    height, width = image.shape[:2]
    right, bottom = -width % STRIDE, -height % STRIDE
    if not right and not bottom:
        return image
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)


def to_input(image: np.ndarray, scale: float) -> np.ndarray:
    """The network's input of an image (H, W, 3) uint8 RGB: uint8, sides multiples of STRIDE."""
    return pad(resample(image, scale))
