"""Matching by the distance of centres, for objects whose place matters but not their size.

Mitosis challenges judge in this way: a detection within 7.5 µm of the centre of a mitotic
figure has found it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.class_matches import compute_rates, mask_classes, match_classes
from ml_backend.evaluation.froc import pool_classes
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.class_names import canonicalize


@dataclass(frozen=True)
class CentreFigures:
    """Figures of headline boxes that are matched by their centres.

    Attributes:
        radius: The largest distance at which a box has found an object, in the unit of the
            boxes; None where there is no object.
        precision: Share of the boxes that found an object, 0..1.
        recall: Share of the objects that were found, 0..1.
        f1: Their harmonic mean, 0..1.
    """

    radius: float | None
    precision: Figure
    recall: Figure
    f1: Figure


def evaluate_by_centres(
    images: Sequence[tuple[Example, Boxes]],
    group: np.ndarray,
    headline: Sequence[str],
    threshold: float,
    weights: np.ndarray,
    radius: float | None = None,
) -> CentreFigures:
    """Judge the headline boxes at a threshold by their centres.

    Args:
        images: Each with its truth (boxes not None) and the boxes predicted on it, all in one
            unit of length.
        group: (I,) int, the group of each image.
        headline: The classes that count.
        threshold: The confidence from which a box counts, 0..1.
        weights: (R, G), how often each group counts.
        radius: In that unit; half of the median object's side where it is None.
    """
    wanted = {canonicalize(name) for name in headline}
    if radius is None:
        xyxy = [
            truth.boxes.xyxy[mask_classes(truth.boxes, wanted)]
            for truth, _ in images
            if truth.boxes
        ]
        sides = [np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) for boxes in xyxy]
        all_sides = np.concatenate([np.zeros(0), *sides])
        radius = float(np.median(all_sides)) / 2 if len(all_sides) else None
    matcher = partial(match_centres, radius=radius or 0.0)
    matches = match_classes(images, group, weights.shape[1], headline, matcher)
    pooled = pool_classes(
        [matched for name, matched in matches.items() if canonicalize(name) in wanted]
    )
    values = compute_rates(pooled, threshold, weights)
    return CentreFigures(
        radius, **{name: Figure.from_resamples(*pair) for name, pair in values.items()}
    )


def match_centres(
    predicted: np.ndarray, truth: np.ndarray, ignored: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Match the boxes of one class in one image by their centres.

    The most confident box chooses first and takes the nearest free true box whose centre is at
    most `radius` from its own. A box that found nothing, and whose centre lies in an ignored
    region, is ignored.

    Args:
        predicted: (D, 4), the most confident first.
        truth: (M, 4).
        ignored: (K, 4), regions in which nothing is judged.
        radius: In the unit of the boxes.

    Returns:
        The hits and the ignored boxes, each (1, D) bool: one row, because there is one
        strictness, see `matching.match_images`.
    """
    points, targets = _centres(predicted), _centres(truth)
    distance = np.linalg.norm(points[:, None] - targets[None, :], axis=2)
    hit = np.zeros(len(points), bool)
    for box in np.flatnonzero(distance.min(axis=1, initial=np.inf) <= radius):
        nearest = int(distance[box].argmin())
        if distance[box, nearest] <= radius:
            hit[box] = True
            distance[:, nearest] = np.inf
    regions = np.asarray(ignored, float)
    after, before = points[:, None] >= regions[None, :, :2], points[:, None] <= regions[None, :, 2:]
    inside = np.any(np.all(after & before, axis=2), axis=1)
    return hit[None], (~hit & inside)[None]


def _centres(boxes: np.ndarray) -> np.ndarray:
    boxes = np.asarray(boxes, float).reshape(-1, 4)
    return (boxes[:, :2] + boxes[:, 2:]) / 2
