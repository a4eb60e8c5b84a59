"""Matching by place alone: for objects that are marked by where they are, not by how large.

Mitosis challenges judge so: a detection within 7.5 µm of a figure's centre has found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.class_matches import are, rates, tallies
from ml_backend.evaluation.froc import pooled
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize


@dataclass(frozen=True)
class Centres:
    """Headline boxes that are matched by place alone. radius: within which a box has found an
    object, in the unit of the boxes; None where there is no object.
    """

    radius: float | None
    precision: Figure
    recall: Figure
    f1: Figure


def by_centres(
    images: Sequence[tuple[Example, Boxes]],
    group: np.ndarray,
    headline: Sequence[str],
    threshold: float,
    weights: np.ndarray,
    radius: float | None = None,
) -> Centres:
    """Figures of the headline boxes at a threshold.

    images: each with its truth (boxes not None) and what was predicted on it, in one unit.
    group: (I,) int, the group of each. weights: (R, G), how often each group counts.
    radius: in that unit; half of the median object's side where it is not given.
    """
    wanted = {canonicalize(name) for name in headline}
    if radius is None:
        xyxy = [truth.boxes.xyxy[are(truth.boxes, wanted)] for truth, _ in images if truth.boxes]
        sides = [np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) for boxes in xyxy]
        every = np.concatenate([np.zeros(0), *sides])
        radius = float(np.median(every)) / 2 if len(every) else None
    near = partial(match_centres, radius=radius or 0.0)
    classes = tallies(images, group, weights.shape[1], headline, near)
    sought = pooled([one for name, one in classes.items() if canonicalize(name) in wanted])
    values = rates(sought, threshold, weights)
    return Centres(radius, **{name: Figure.over(*pair) for name, pair in values.items()})


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
