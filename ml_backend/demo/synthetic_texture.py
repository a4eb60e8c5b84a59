"""The grain of biological stuff: smooth noise, wavering outlines, soft edges."""

from __future__ import annotations

import cv2
import numpy as np


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> np.ndarray:
    """Noise of mean 0 and deviation about 1 whose spots are `grain` px wide: float32 `shape`."""
    height, width = (max(2, round(side / grain) + 1) for side in shape)
    coarse = rng.standard_normal((height, width), np.float32)
    noise = cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    # Interpolation averages neighbours, which takes away about a third of the deviation.
    return noise * 1.4


def outline(rng: np.random.Generator, angles: np.ndarray, roughness: float) -> np.ndarray:
    """A wavering radius around 1 at each angle (radians); `roughness` 0 is a circle."""
    radius = np.ones_like(angles)
    for order in range(2, 7):
        phase = rng.uniform(0, 2 * np.pi)
        radius += roughness * rng.normal() / order * np.cos(order * angles + phase)
    return np.clip(radius, 0.6, 1.5)


def disc(
    rng: np.random.Generator,
    radii: tuple[float, float],
    *,
    roughness: float = 0.0,
    margin: float = 1.35,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth inside a rotated, wavering ellipse: (rho, x, y), each float32 (H, W).

    rho is 0 in the middle and 1 on the outline; x and y are px from the middle.
    """
    reach = int(np.ceil(max(radii) * margin))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along = (x * np.cos(turn) + y * np.sin(turn)) / radii[0]
    across = (y * np.cos(turn) - x * np.sin(turn)) / radii[1]
    rho = np.hypot(along, across)
    if roughness:
        # 64 angles are enough for six waves; the rest is interpolation.
        angles = np.linspace(-np.pi, np.pi, 65)
        radius = outline(rng, angles, roughness)
        rho = rho / np.interp(np.arctan2(across, along), angles, radius).astype(np.float32)
    return rho, x, y


def soft_step(depth: np.ndarray, width: float) -> np.ndarray:
    """0 where depth is below -width, 1 above +width, smooth between."""
    t = np.clip(depth / (2 * width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def blurred(light: np.ndarray, sigma: float) -> np.ndarray:
    """The light out of focus by `sigma` px, on a patch enlarged so that nothing is cut off."""
    reach = int(np.ceil(3 * sigma))
    padded = cv2.copyMakeBorder(light, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    return cv2.GaussianBlur(padded, (0, 0), sigma)
