"""Augmentation: training images mirrored, turned, resized and exposed at random.

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

# The label of a box that a person deleted: shown and pasted like an object, but not a target:
# whatever is found there adds to the loss.
DELETED = -1


@dataclass(frozen=True)
class TrainingImage:
    """A labelled image at the input scale.

    Attributes:
        pixels: (H, W, 3) uint8.
        xyxy: (N, 4) float32, boxes in pixels.
        label: (N,) int, class indices or DELETED.
        ignored: (M, 4) float32, regions that do not enter the loss.
        weight: (N,) float, how often each object is chosen; None where all are alike.
    """

    pixels: np.ndarray
    xyxy: np.ndarray
    label: np.ndarray
    ignored: np.ndarray
    weight: np.ndarray | None = None


def choose_index(weight: np.ndarray | None, number: int, rng: np.random.Generator) -> int:
    """Choose one of `number` indices at random, by weight where weights are given."""
    return int(rng.choice(number, p=None if weight is None else weight / weight.sum()))


def transform_boxes(xyxy: np.ndarray, linear: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """Transform the boxes of objects by x → linear @ x + offset.

    Exact where the map is made of quarter turns, mirrors and scaling. For other angles the
    outline of an object is not known; it is taken as the inscribed ellipse, whose half extent
    along an output axis is sqrt((m₁ a)² + (m₂ b)²) for the row m of `linear` and the half
    sides a, b. The box around the turned corners would leave a wide margin.

    Args:
        xyxy: (N, 4).
        linear: (2, 2).
        offset: (2,).
    """
    centre = (xyxy[:, :2] + xyxy[:, 2:]) / 2 @ linear.T + offset
    half = (xyxy[:, 2:] - xyxy[:, :2]) / 2
    half = np.sqrt(half**2 @ (linear**2).T)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def augment(
    image: TrainingImage, canvas: tuple[int, int], recipe: Recipe, rng: np.random.Generator
) -> TrainingImage:
    """Augment an image at random.

    Args:
        image: At the input scale.
        canvas: Height and width of the result, input px.
        recipe: How strongly.
        rng: The source of randomness.

    Returns:
        The image on its canvas. Boxes of which the recipe's `visible` share is left are kept;
        what is left of others is ignored.
    """
    linear = np.eye(2)
    if rng.random() < 0.5:
        linear = np.diag([-1.0, 1.0])
    # A field that lies across the canvas is turned along it.
    height, width = image.pixels.shape[:2]
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
    if len(image.xyxy) and (room < -size / 4).any() and rng.random() < recipe.near:
        # Most crops of a field much larger than the canvas are empty: show an object.
        box = image.xyxy[choose_index(image.weight, len(image.xyxy), rng)]
        inside = linear @ ((box[:2] + box[2:]) / 2 - (width / 2, height / 2))
        centre = np.array(canvas[::-1]) * rng.uniform(0.1, 0.9, 2) - inside
        centre = np.where(room < 0, np.clip(centre, size / 2 + room, size / 2), size / 2)
    offset = centre - linear @ (width / 2, height / 2)
    if not warped:
        offset = np.round(offset)
    # Exposed before it is placed: the padding has the same grey in serving.
    pixels = _warp(_expose(image.pixels, recipe, rng), linear, offset, canvas, exact=not warped)
    xyxy = transform_boxes(image.xyxy, linear, offset)
    xyxy, visible = _clip(xyxy, canvas)
    ignored, _ = _clip(transform_boxes(image.ignored, linear, offset), canvas)
    kept = visible >= recipe.visible
    cut = ~kept & (visible > 0) & (image.label != DELETED)
    return TrainingImage(
        pixels,
        xyxy[kept],
        image.label[kept],
        np.concatenate([ignored, xyxy[cut]]),
    )


def _rotation(degrees: float) -> np.ndarray:
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    return np.round(matrix) if degrees % 90 == 0 else matrix


def _warp(
    pixels: np.ndarray,
    linear: np.ndarray,
    offset: np.ndarray,
    canvas: tuple[int, int],
    *,
    exact: bool,
) -> np.ndarray:
    """Draw the pixels on the canvas after x → linear @ x + offset; `exact` moves whole pixels."""
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
    """Clip boxes to the canvas; give them with the share of each area that is left."""
    limits = np.array([canvas[1], canvas[0]] * 2, np.float32)
    clipped = np.clip(xyxy, 0, limits)
    sides = clipped[:, 2:] - clipped[:, :2]
    area = np.maximum((xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1), 1e-6)
    return clipped, np.where((sides >= 2).all(axis=1), sides.prod(axis=1) / area, 0.0)


def _expose(pixels: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """Change exposure and focus at random."""
    gain, gamma = recipe.gain ** rng.uniform(-1, 1), recipe.gamma ** rng.uniform(-1, 1)
    curve = 255 * gain * (np.arange(256) / 255) ** gamma
    pixels = cv2.LUT(pixels, np.clip(np.round(curve), 0, 255).astype(np.uint8))
    if rng.random() < 0.3 and recipe.blur > 0:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, recipe.blur))
    if rng.random() < 0.3 and recipe.noise > 0:
        grain = rng.standard_normal(pixels.shape[:2], np.float32) * rng.uniform(0, recipe.noise)
        pixels = np.clip(pixels + grain[..., None], 0, 255).astype(np.uint8)
    return pixels
