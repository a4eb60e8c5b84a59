"""The threshold at which a detector's boxes agree best with what people drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.evaluation.bootstrap import divide_or_nan
from ml_backend.evaluation.matching import MatchedDetections

_GRID = np.linspace(0.05, 0.95, 91)
# F1 that the best threshold may be worth by luck: thresholds so close to it count for e⁻¹.
_LUCK = 0.01


def choose_threshold(classes: Sequence[MatchedDetections]) -> float:
    """Choose the threshold of the highest F1, mean over the classes.

    Over few boxes F1 has many peaks, and the highest one is highest by luck. So it is the mean of
    all thresholds, each weighted by exp((F1 - highest F1) / 0.01).

    Args:
        classes: The matched boxes of each class; one without a true box does not count.

    Returns:
        0.05..0.95; the middle where no class has a true box.
    """
    f1 = np.zeros((0, len(_GRID)))
    for matched in classes:
        if truths := matched.truths.sum():
            counted = ~matched.ignored[0]
            reaches = matched.confidence[counted] >= _GRID[:, None]
            right = (reaches & matched.hit[0][counted]).sum(axis=1)
            f1 = np.vstack([f1, divide_or_nan(2 * right, reaches.sum(axis=1) + truths)])
    mean = f1.mean(axis=0) if len(f1) else np.zeros(len(_GRID))
    weight = np.exp((mean - mean.max()) / _LUCK)
    return float((weight * _GRID).sum() / weight.sum())
