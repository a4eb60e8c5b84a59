"""What was taken for what: true boxes by class against the predicted boxes on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.matching import IOU_LEVELS, choose_partners, compute_coverage
from ml_backend.imaging.boxes import compute_iou

LEVEL = IOU_LEVELS[:1]  # from which on two boxes belong together

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
        overlap = compute_iou(one.predicted, one.truth)
        same = one.predicted_class[:, None] == one.truth_class[None, :]
        partner = choose_partners(np.where(same, overlap, 0.0), LEVEL)[0]
        free = np.ones(len(one.truth), bool)
        free[partner[partner >= 0]] = False
        left = (partner < 0)[:, None] & free[None, :]
        others = choose_partners(np.where(left, overlap, 0.0), LEVEL)[0]
        partner = np.maximum(partner, others)

        found = partner >= 0
        np.add.at(counts, (one.truth_class[partner[found]], one.predicted_class[found]), 1)
        free[partner[found]] = False
        counts[:-1, classes] += np.bincount(one.truth_class[free], minlength=classes)
        inside = (
            compute_coverage(one.predicted, one.ignored).max(axis=1, initial=0) >= IOU_LEVELS[0]
        )
        alone = one.predicted_class[~found & ~inside]
        counts[classes, :-1] += np.bincount(alone, minlength=classes)
    return counts
