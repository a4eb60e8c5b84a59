"""Copy-paste augmentation: objects of one training image pasted into another.

Small sets show every cell in one surrounding and every field with its few cells; mixing them
shows more of both (Ghiasi et al. 2021, Simple Copy-Paste).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ml_backend.learners.detector.training_data.augmentation import TrainingImage, choose_index

# Around a pasted object, as a share of its sides: there it fades into the image.
MARGIN = 0.15


def paste_objects(
    image: TrainingImage,
    donors: Sequence[TrainingImage],
    most: int,
    rng: np.random.Generator,
    weights: np.ndarray | None = None,
) -> TrainingImage:
    """Paste objects of other images where the image has no object and no ignored region.

    An object is mirrored and turned by quarters, and keeps its brightness. One that touches
    another object in its own image, or finds no room here, is left out.

    Args:
        image: To paste into; it is not changed.
        donors: To take objects from.
        most: Objects, at most; at least one is tried.
        rng: The source of randomness.
        weights: (donors,), how often each is chosen; None: all alike.
    """
    pixels = image.pixels.copy()
    occupied = np.concatenate([image.xyxy, image.ignored])
    xyxy, label = [image.xyxy], [image.label]
    weight = [] if image.weight is None else [image.weight]
    for _ in range(int(rng.integers(1, most + 1))):
        donor = donors[choose_index(weights, len(donors), rng)]
        if not len(donor.xyxy):
            continue
        chosen = choose_index(donor.weight, len(donor.xyxy), rng)
        piece, alpha, box = _cut_out(donor, chosen)
        if piece.size == 0:
            continue
        if rng.random() < 0.5:
            piece, alpha = piece[:, ::-1], alpha[:, ::-1]
            x1, y1, x2, y2 = box
            box = np.array([piece.shape[1] - x2, y1, piece.shape[1] - x1, y2])
        if rng.random() < 0.5:
            piece, alpha, box = piece.transpose(1, 0, 2), alpha.T, box[[1, 0, 3, 2]]
        room = np.array(pixels.shape[:2]) - piece.shape[:2]
        if (room <= 0).any():
            continue
        top, left = (int(rng.integers(side)) for side in room)
        place = np.array([left, top, left + piece.shape[1], top + piece.shape[0]])
        if _touches(occupied, place):
            continue
        spot = pixels[place[1] : place[3], place[0] : place[2]]
        spot[:] = alpha[..., None] * piece + (1 - alpha[..., None]) * spot
        placed = (box + [left, top, left, top]).astype(np.float32)[None]
        occupied = np.concatenate([occupied, placed])
        xyxy.append(placed)
        label.append(donor.label[chosen : chosen + 1])
        if donor.weight is not None:
            weight.append(donor.weight[chosen : chosen + 1])
    return TrainingImage(
        pixels,
        np.concatenate(xyxy),
        np.concatenate(label),
        image.ignored,
        np.concatenate(weight) if weight else None,
    )


def _cut_out(donor: TrainingImage, chosen: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut out an object with a margin.

    Returns:
        Its pixels, their opacity (0..1), and its box in them. No pixels where something else
        reaches into the margin: half of that would be pasted too.
    """
    box = donor.xyxy[chosen]
    margin = MARGIN * (box[2:] - box[:2])
    low = np.floor(np.maximum(box[:2] - margin, 0)).astype(int)
    high = np.ceil(np.minimum(box[2:] + margin, donor.pixels.shape[1::-1])).astype(int)
    others = np.concatenate([np.delete(donor.xyxy, chosen, axis=0), donor.ignored])
    if _touches(others, np.concatenate([low, high])):
        return donor.pixels[:0], np.zeros((0, 0), np.float32), box
    piece = donor.pixels[low[1] : high[1], low[0] : high[0]]
    inside = box - np.tile(low, 2)
    x1, y1, x2, y2 = np.round(inside).astype(int)
    alpha = np.zeros(piece.shape[:2], np.float32)
    alpha[y1:y2, x1:x2] = 1
    width, height = (2 * max(1, int(side)) + 1 for side in margin)
    return piece, cv2.blur(alpha, (width, height)), inside


def _touches(xyxy: np.ndarray, box: np.ndarray) -> bool:
    return bool(((xyxy[:, :2] < box[2:]) & (xyxy[:, 2:] > box[:2])).all(axis=1).any())
