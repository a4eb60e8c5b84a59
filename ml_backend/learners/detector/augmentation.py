"""Training images: the same cells seen another way.

Microscopy knows no up, so every image is mirrored and turned by quarters, which moves
pixels without changing one; only a share is resized or turned freely, because that blurs
and makes boxes less tight. Fields differ in exposure and focus, hence gain, noise, blur.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ml_backend.learners.detector.hyperparameters import Recipe
from ml_backend.learners.detector.preprocess import PADDING

# The label of a place where a person removed a box: looked at and laid into other fields as any
# object, but in no target: whatever is found there is punished.
DELETED = -1


@dataclass(frozen=True)
class TrainingImage:
    """One image at the input scale.

    pixels: (H, W, 3) uint8. xyxy: (N, 4) float32, pixels. label: (N,) int, class indices or
    NOTHING. ignored: (M, 4) float32, regions that neither count nor punish.
    weight: (N,) float, how often each object is chosen; None where they are alike.
    """

    pixels: np.ndarray
    xyxy: np.ndarray
    label: np.ndarray
    ignored: np.ndarray
    weight: np.ndarray | None = None


def choose_index(weight: np.ndarray | None, number: int, rng: np.random.Generator) -> int:
    """One of `number` indices, by weight where there is one."""
    return int(rng.choice(number, p=None if weight is None else weight / weight.sum()))


def transform_boxes(xyxy: np.ndarray, linear: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The boxes of objects after x → linear @ x + offset; xyxy (N, 4), linear (2, 2).

    Exact where the map is made of quarter turns, mirrors and scaling. For other angles
    what fills a box is not known; it is taken as the inscribed ellipse, whose half extent
    along an output axis is sqrt((m₁ a)² + (m₂ b)²) for the row m of `linear` and the half
    sides a, b. The box around the turned corners would leave a wide margin.
    """
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2 @ linear.T + offset
    half = (xyxy[:, 2:] - xyxy[:, :2]) / 2
    half = np.sqrt(half**2 @ (linear**2).T)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def augment(
    view: TrainingImage, canvas: tuple[int, int], recipe: Recipe, rng: np.random.Generator
) -> TrainingImage:
    """A random view of `view` on a canvas (height, width), in input pixels."""
    linear = np.eye(2)
    if rng.random() < 0.5:
        linear = np.diag([-1.0, 1.0])
    # A field that lies across the canvas is turned along it.
    height, width = view.pixels.shape[:2]
    quarters = 2 * int(rng.integers(2))
    if (height > width) != (canvas[0] > canvas[1]) or (height == width and rng.random() < 0.5):
        quarters += 1
    linear = _rotation(90.0 * quarters) @ linear
    warped = rng.random() < recipe.warp
    if warped:
        zoom = np.exp(rng.uniform(-1, 1) * np.log(recipe.zoom))
        linear = _rotation(rng.uniform(-recipe.turn, recipe.turn)) @ linear * zoom
    size = np.abs(linear) @ (width, height)  # of the turned image
    room = np.array(canvas[::-1]) - size
    centre = size / 2 + room * rng.uniform(0, 1, 2)
    if warped:
        centre += rng.uniform(-recipe.shift, recipe.shift, 2) * canvas[::-1]
    if len(view.xyxy) and (room < -size / 4).any() and rng.random() < recipe.near:
        # Most windows of a field much larger than the canvas are empty: look at an object.
        box = view.xyxy[choose_index(view.weight, len(view.xyxy), rng)]
        inside = linear @ ((box[:2] + box[2:]) / 2 - (width / 2, height / 2))
        centre = np.array(canvas[::-1]) * rng.uniform(0.1, 0.9, 2) - inside
        centre = np.where(room < 0, np.clip(centre, size / 2 + room, size / 2), size / 2)
    offset = centre - linear @ (width / 2, height / 2)
    if not warped:
        offset = np.round(offset)
    # Exposed before it is placed: the padding has the same grey in serving.
    pixels = _place(_expose(view.pixels, recipe, rng), linear, offset, canvas, exact=not warped)
    xyxy = transform_boxes(view.xyxy, linear, offset)
    xyxy, seen = _clip(xyxy, canvas)
    ignored, _ = _clip(transform_boxes(view.ignored, linear, offset), canvas)
    counted = seen >= recipe.visible
    cut = ~counted & (seen > 0) & (view.label != DELETED)
    return TrainingImage(
        pixels,
        xyxy[counted],
        view.label[counted],
        np.concatenate([ignored, xyxy[cut]]),
    )


def _rotation(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    return np.round(matrix) if degrees % 90 == 0 else matrix


def _place(
    pixels: np.ndarray,
    linear: np.ndarray,
    offset: np.ndarray,
    canvas: tuple[int, int],
    *,
    exact: bool,
) -> np.ndarray:
    """The canvas after x → linear @ x + offset; `exact` moves whole pixels."""
    # OpenCV speaks of pixel centres, boxes of pixel edges: half a pixel between them.
    shift = linear @ (0.5, 0.5) + offset - 0.5
    return cv2.warpAffine(
        pixels,
        np.column_stack([linear, shift]),
        canvas[::-1],
        flags=cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR,
        borderValue=(PADDING,) * 3,
    )


def _clip(xyxy: np.ndarray, canvas: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes within the canvas and the share of each that is left."""
    limits = np.array([canvas[1], canvas[0]] * 2, np.float32)
    clipped = np.clip(xyxy, 0, limits)
    sides = clipped[:, 2:] - clipped[:, :2]
    area = np.maximum((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1), 1e-6)
    return clipped, np.where((sides >= 2).all(axis=1), sides.prod(axis=1) / area, 0.0)


def _expose(pixels: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and focus of the same field."""
    gain, gamma = recipe.gain ** rng.uniform(-1, 1), recipe.gamma ** rng.uniform(-1, 1)
    curve = 255 * gain * (np.arange(256) / 255) ** gamma
    pixels = cv2.LUT(pixels, np.clip(np.round(curve), 0, 255).astype(np.uint8))
    if rng.random() < 0.3 and recipe.blur > 0:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, recipe.blur))
    if rng.random() < 0.3 and recipe.noise > 0:
        grain = rng.standard_normal(pixels.shape[:2], np.float32) * rng.uniform(0, recipe.noise)
        pixels = np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8)
    return pixels
