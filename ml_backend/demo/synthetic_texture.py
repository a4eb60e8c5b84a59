"""What makes generated cells look natural: smooth noise, irregular outlines, soft edges."""

from __future__ import annotations

import cv2
import numpy as np


def make_smooth_noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> np.ndarray:
    """Make noise of mean 0 and standard deviation about 1.

    Args:
        rng: Where the randomness comes from.
        shape: (height, width), px.
        grain: The width of its spots, px.

    Returns:
        float32 array of that shape.
    """
    height, width = (max(2, round(side / grain) + 1) for side in shape)
    coarse = rng.standard_normal((height, width), np.float32)
    noise = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    # Interpolation averages neighbours, which reduces the deviation by about a third.
    return noise * 1.4


def make_outline(rng: np.random.Generator, angles: np.ndarray, roughness: float) -> np.ndarray:
    """Make an irregular closed outline around the unit circle, a sum of five waves.

    Args:
        rng: Where the randomness comes from.
        angles: Radians.
        roughness: How far it departs from the circle; 0 is the circle.

    Returns:
        The radius at each angle, 0.6..1.5.
    """
    radius = np.ones_like(angles)
    for order in range(2, 7):
        phase = rng.uniform(0, 2 * np.pi)
        radius += roughness * rng.normal() / order * np.cos(order * angles + phase)
    return np.clip(radius, 0.6, 1.5)


def make_disc(
    rng: np.random.Generator,
    radii: tuple[float, float],
    *,
    roughness: float = 0.0,
    margin: float = 1.35,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the coordinates of a patch around a rotated ellipse with an irregular outline.

    Args:
        rng: Where the randomness comes from.
        radii: The two radii of the ellipse, px.
        roughness: How far the outline departs from the ellipse; see `make_outline`.
        margin: The side of the patch, in lengths of the longer axis.

    Returns:
        (rho, x, y), each float32 (H, W): the distance from the middle, 0 there and 1 on the
        outline, and the place, px from the middle.
    """
    reach = int(np.ceil(max(radii) * margin))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along = (x * np.cos(turn) + y * np.sin(turn)) / radii[0]
    across = (y * np.cos(turn) - x * np.sin(turn)) / radii[1]
    rho = np.hypot(along, across)
    if roughness:
        # 65 angles are enough for waves of order 2 to 6; between them it is interpolated.
        angles = np.linspace(-np.pi, np.pi, 65)
        radius = make_outline(rng, angles, roughness)
        rho = rho / np.interp(np.arctan2(across, along), angles, radius).astype(np.float32)
    return rho, x, y


def compute_smoothstep(depth: np.ndarray, width: float) -> np.ndarray:
    """Compute the smoothstep of a depth: 0 below -width, 1 above +width, cubic between."""
    t = np.clip(depth / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def blur(light: np.ndarray, sigma: float) -> np.ndarray:
    """Put a patch of light out of focus.

    Args:
        light: float32 (H, W).
        sigma: Of the Gaussian, px.

    Returns:
        float32, larger by 3 sigma on each side, so that nothing is cut off.
    """
    reach = int(np.ceil(3 * sigma))
    padded = cv2.copyMakeBorder(light, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    return cv2.GaussianBlur(padded, (0, 0), sigma)
