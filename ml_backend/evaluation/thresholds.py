"""The threshold at which a detector's boxes agree best with what people drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.evaluation.matching import MatchedDetections

_GRID = np.linspace(0.05, 0.95, 91)


def choose_threshold(classes: Sequence[MatchedDetections]) -> float:
    """Choose the threshold of the highest F1, mean over the classes, of calibrated boxes.

    A box is worth showing where its chance to be right is at least half of the highest F1 that can
    be reached (Lipton, Elkan and Naryanaswamy 2014, Optimal Thresholding of Classifiers to Maximize
    F1 Measure). That F1 is taken from what the confidences promise, not from which boxes were
    right: over few boxes, the threshold of the highest F1 counted is highest by luck.

    Args:
        classes: The matched boxes of each class, their confidence being the chance that they are
            right; one without a true box does not count.

    Returns:
        0..0.5; the middle of it where no class has a true box.
    """
    promised = np.zeros((0, len(_GRID)))
    for matched in classes:
        if truths := matched.truths.sum():
            chance = matched.confidence[~matched.ignored[0]]
            shown = chance >= _GRID[:, None]
            f1 = 2 * (shown * chance).sum(axis=1) / (shown.sum(axis=1) + truths)
            promised = np.vstack([promised, f1])
    return float(promised.mean(axis=0).max() / 2) if len(promised) else 0.25
