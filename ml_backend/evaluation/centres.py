"""Matching by place alone: for objects that are marked by where they are, not by how large.

Mitosis challenges judge so: a detection within 7.5 µm of a figure's centre has found it.
"""

from __future__ import annotations

import numpy as np


def match_centres(
    predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Hits and ignored ones among the boxes of one class in one image, each (1, D) bool.

    predicted: (D, 4), the most confident first. truth: (M, 4). ignored: (K, 4), regions.
    radius: pixels; the most confident box takes the nearest free true box whose centre is
    at most that far from its own. A box whose centre lies in an ignored region, and that
    found nothing, is ignored. One row, as `matching.tally` wants it: one strictness.
    """
    points, targets = _centres(predicted), _centres(truth)
    apart = np.linalg.norm(points[:, None] - targets[None, :], axis=2)
    hit = np.zeros(len(points), bool)
    for box in np.flatnonzero(apart.min(axis=1, initial=np.inf) <= radius):
        nearest = int(apart[box].argmin())
        if apart[box, nearest] <= radius:
            hit[box] = True
            apart[:, nearest] = np.inf
    regions = np.asarray(ignored, float)
    after, before = points[:, None] >= regions[None, :, :2], points[:, None] <= regions[None, :, 2:]
    inside = np.any(np.all(after & before, axis=2), axis=1)
    return hit[None], (~hit & inside)[None]


def _centres(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2
