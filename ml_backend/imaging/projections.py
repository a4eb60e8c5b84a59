"""Projections of a stack: what a cell looks like from three sides, and one picture of all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import cv2
import numpy as np

Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = ("x", "y", "z")
# Size of a voxel along z, y and x, µm.
Voxel = tuple[float, float, float]

_GAP = 4  # px between the parts of a composite picture
_WHITE = 255


def project_stack(stack: np.ndarray, voxel: Voxel) -> dict[Axis, np.ndarray]:
    """Project a stack along each axis: the brightest voxel on each line of sight.

    The smallest side of a voxel becomes the pixel of all three, so that a ball stays round however
    far the planes lie apart.

    Args:
        stack: (Z, Y, X, C) uint8, at least two planes.
        voxel: Its size, µm.

    Returns:
        By axis, (H, W, C) uint8: along z (Y, X), along y (Z, X), along x (Z, Y).

    Raises:
        ValueError: It is no stack, or a voxel has no size.
    """
    if stack.ndim != 4 or 0 in stack.shape:
        raise ValueError(f"a stack has axes Z, Y, X and channels, not the shape {stack.shape}")
    if len(stack) < 2:
        raise ValueError("it has a single plane: there is nothing to project")
    if not all(np.isfinite(side) and side > 0 for side in voxel):
        raise ValueError(f"a voxel of {voxel} µm has no size")
    z, y, x = voxel
    pixel = min(voxel)
    return {
        "x": _resize(stack.max(axis=2), z / pixel, y / pixel),
        "y": _resize(stack.max(axis=1), z / pixel, x / pixel),
        "z": _resize(stack.max(axis=0), y / pixel, x / pixel),
    }


def _resize(plane: np.ndarray, rows: float, columns: float) -> np.ndarray:
    """Enlarge (H, W, C) by two factors of at least 1."""
    height, width, channels = plane.shape
    size = (max(1, round(width * columns)), max(1, round(height * rows)))
    resized = cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR)
    return resized.reshape(size[1], size[0], channels)


def colour_channels(plane: np.ndarray) -> np.ndarray:
    """Colour two channels, told apart by colour-blind people too: magenta and green.

    Args:
        plane: (H, W, 2) uint8: DNA, membrane.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    return np.ascontiguousarray(plane[..., [0, 1, 0]])


def compose_picture(
    centre: np.ndarray, projections: Mapping[Axis, np.ndarray], height: int = 480
) -> np.ndarray:
    """Compose what an annotator sees: the centre plane with its surroundings, and all projections.

    Args:
        centre: (H, W, 2) uint8, the plane through the cell, wider than the cell.
        projections: See `project_stack`; two channels.
        height: Of the picture, px.

    Returns:
        (height, W, 3) uint8 RGB: DNA, membrane, then the projections along z, y and x in colours.
    """
    parts = [np.repeat(centre[..., [channel]], 3, axis=2) for channel in (0, 1)]
    parts += [colour_channels(projections[axis]) for axis in ("z", "y", "x")]
    gap = np.full((height, _GAP, 3), _WHITE, np.uint8)
    row: list[np.ndarray] = []
    for part in parts:
        row += [_fit(part, height), gap]
    return np.concatenate(row[:-1], axis=1)


def _fit(part: np.ndarray, height: int) -> np.ndarray:
    """Scale a part into the height, at most as wide as high; the rest stays black."""
    scale = height / max(part.shape[:2])
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    resized = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    canvas = np.zeros((height, size[0], 3), np.uint8)
    top = (height - size[1]) // 2
    canvas[top : top + size[1]] = resized
    return canvas
