"""From an image to the network's input, the same in training and in serving.

Images of one project are taken at one magnification, so they are resampled by one fixed
scale (a version stores it) instead of being fitted into a frame one by one: a cell keeps
its size whether it lies in a whole field or in a small tile of it. Where the pixel size is
known, of the image and of what the version learned from, it decides the scale.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

STRIDE = 32  # the coarsest grid of the detector; input sides are multiples of it
PADDING = 114  # the grey that ultralytics' pretrained networks know as 'outside'


# Pixel sizes that ask for a scale so many times another one are not believed: a µm that was
# meant to be a nm, and a network that would be shown a field blown up to millions of pixels.
FAR = 16.0


def compute_scale(scale: float, input_um: float | None, pixel_size: float | None) -> float:
    """Compute the input pixels for each image pixel, for images of one pixel size.

    Args:
        scale: Of the version, see `ModelCard`.
        input_um: Of the version, see `ModelCard`.
        pixel_size: µm that a pixel of the images shows.

    Returns:
        pixel_size / input_um; the version's scale where a size is not known, or so far off
        (FAR) that it cannot be true.
    """
    if not input_um or not pixel_size:
        return scale
    wanted = pixel_size / input_um
    return wanted if 1 / FAR <= wanted / scale <= FAR else scale


def compute_input_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Compute height and width after resampling: whole pixels, at least 1."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def count_halvings(scale: float) -> int:
    """Count how often an image is halved before the rest, less than a halving, is resampled."""
    return max(0, math.floor(-math.log2(scale)))


def resample(image: np.ndarray, scale: float, halved: int = 0) -> np.ndarray:
    """Resample an image to `scale`.

    Args:
        image: (H, W, 3) uint8.
        scale: Input pixels for each pixel of the original image.
        halved: How often the image was halved already, at most `count_halvings`.

    Returns:
        (H, W, 3) uint8, at least 1 × 1.
    """
    height, width = image.shape[:2]
    size = compute_input_size(height << halved, width << halved, scale)
    if size == (height, width):
        return image
    if scale >= 1:
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    # Averaging over the source pixels keeps thin chromosomes that skipping would drop. Where
    # means of four, which OpenCV has a fast way for, can go first, the rest is less than
    # another half: interpolating between neighbours then skips no pixel, in a third of the time.
    wanted = count_halvings(scale)
    while halved < wanted and height % 2 == width % 2 == 0:
        height, width, halved = height // 2, width // 2, halved + 1
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    even = wanted > 0 and halved == wanted
    interpolation = cv2.INTER_LINEAR if even else cv2.INTER_AREA
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def pad(image: np.ndarray) -> np.ndarray:
    """Fill up an image, (H, W, 3) uint8, at the right and the bottom to multiples of STRIDE."""
    height, width = image.shape[:2]
    right, bottom = -width % STRIDE, -height % STRIDE
    if not right and not bottom:
        return image
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)


def prepare_input(image: np.ndarray, scale: float, halved: int = 0) -> np.ndarray:
    """Resample and pad an image, (H, W, 3) uint8 RGB, to the network's input.

    Args:
        image: (H, W, 3) uint8 RGB.
        scale: See `resample`.
        halved: See `resample`.

    Returns:
        uint8, sides multiples of STRIDE.
    """
    return pad(resample(image, scale, halved))
