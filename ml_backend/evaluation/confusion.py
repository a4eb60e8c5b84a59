"""What was taken for what: true boxes by class against the predicted boxes on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.matching import IOU_LEVELS, covered
from ml_backend.imaging.boxes import iou

MISSED = "missed"
BACKGROUND = "background"


@dataclass(frozen=True)
class Marks:
    """One image's boxes, sizes in pixels, classes as numbers 0..C-1.

    predicted: (D, 4), the most confident first; predicted_class: (D,).
    truth: (M, 4); truth_class: (M,). ignored: (K, 4) regions in which nothing is judged.
    """

    predicted: np.ndarray
    predicted_class: np.ndarray
    truth: np.ndarray
    truth_class: np.ndarray
    ignored: np.ndarray


def confusion(images: Sequence[Marks], classes: int) -> np.ndarray:
    """Counts (C + 1, C + 1): rows the true class, then background; columns the predicted
    class, then missed.

    A true and a predicted box belong together from IoU 0.5 on. Boxes of the right class
    choose first, by the rules of `matching`, so the diagonal holds exactly what recall and
    precision count; what is left over then pairs up across classes. What finds nothing is
    on the background, unless it lies in an ignored region.
    """
    counts = np.zeros((classes + 1, classes + 1), int)
    for one in images:
        overlap = iou(one.predicted, one.truth)
        same = one.predicted_class[:, None] == one.truth_class[None, :]
        partner = _pairs(np.where(same, overlap, 0.0))
        free = np.ones(len(one.truth), bool)
        free[partner[partner >= 0]] = False
        left = (partner < 0)[:, None] & free[None, :]
        partner = np.maximum(partner, _pairs(np.where(left, overlap, 0.0)))

        found = partner >= 0
        np.add.at(counts, (one.truth_class[partner[found]], one.predicted_class[found]), 1)
        free[partner[found]] = False
        counts[:-1, classes] += np.bincount(one.truth_class[free], minlength=classes)
        inside = covered(one.predicted, one.ignored).max(axis=1, initial=0) >= IOU_LEVELS[0]
        alone = one.predicted_class[~found & ~inside]
        counts[classes, :-1] += np.bincount(alone, minlength=classes)
    return counts


def _pairs(overlap: np.ndarray) -> np.ndarray:
    """For each predicted box, in order, the free true box that it overlaps most; -1 for none."""
    partner = np.full(len(overlap), -1)
    if not overlap.shape[1]:
        return partner
    free = np.ones(overlap.shape[1], bool)
    for box in np.flatnonzero(overlap.max(axis=1, initial=0) >= IOU_LEVELS[0]):
        reach = np.where(free, overlap[box], 0.0)
        # Of equally good ones COCO takes the last.
        best = len(reach) - 1 - reach[::-1].argmax()
        if reach[best] >= IOU_LEVELS[0]:
            partner[box], free[best] = best, False
    return partner
