"""The confusion matrix of boxes: which class was predicted for the true boxes of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.matching import IOU_LEVELS, choose_partners, compute_coverage
from ml_backend.imaging.boxes import compute_iou

MISSED = "missed"
BACKGROUND = "background"
# The overlap from which a true and a predicted box belong together.
_LEVEL = IOU_LEVELS[:1]


@dataclass(frozen=True)
class ImageBoxes:
    """The predicted and the true boxes of one image, in pixels; classes are numbers 0..C-1.

    Attributes:
        predicted: (D, 4), the most confident first.
        predicted_class: (D,) int.
        truth: (M, 4).
        truth_class: (M,) int.
        ignored: (K, 4), regions in which nothing is judged.
    """

    predicted: np.ndarray
    predicted_class: np.ndarray
    truth: np.ndarray
    truth_class: np.ndarray
    ignored: np.ndarray


def count_confusion(images: Sequence[ImageBoxes], classes: int) -> np.ndarray:
    """Count the confusion matrix.

    A true and a predicted box belong together from IoU 0.5 on. Boxes of the right class choose
    first, by the rules of `matching`, so the diagonal holds exactly what recall and precision
    count. The boxes that are left are then matched across classes. A predicted box that finds
    nothing lies on the background, unless it lies in an ignored region.

    Args:
        images: The boxes of each image.
        classes: How many classes there are, C.

    Returns:
        (C + 1, C + 1) int. Rows: the true class, then background. Columns: the predicted
        class, then missed.
    """
    counts = np.zeros((classes + 1, classes + 1), int)
    for image in images:
        overlap = compute_iou(image.predicted, image.truth)
        same = image.predicted_class[:, None] == image.truth_class[None, :]
        partner = choose_partners(np.where(same, overlap, 0.0), _LEVEL)[0]
        free = np.ones(len(image.truth), bool)
        free[partner[partner >= 0]] = False
        left = (partner < 0)[:, None] & free[None, :]
        others = choose_partners(np.where(left, overlap, 0.0), _LEVEL)[0]
        partner = np.maximum(partner, others)

        found = partner >= 0
        np.add.at(counts, (image.truth_class[partner[found]], image.predicted_class[found]), 1)
        free[partner[found]] = False
        counts[:-1, classes] += np.bincount(image.truth_class[free], minlength=classes)
        coverage = compute_coverage(image.predicted, image.ignored).max(axis=1, initial=0)
        alone = image.predicted_class[~found & (coverage < _LEVEL)]
        counts[classes, :-1] += np.bincount(alone, minlength=classes)
    return counts
