"""Does a confidence mean what it says: of the boxes at 0.8, are 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.bootstrap import Figure, ratio

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Boxes whose confidence lies in low..high: how many, their mean confidence (0..1), and
    the share of them that is right (0..1)."""

    low: float
    high: float
    boxes: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """error: the expected calibration error, 0 (says what it means) to 1; None without boxes.
    bins: those that hold a box, rising."""

    error: Figure
    bins: tuple[Bin, ...]


def calibration(
    confidence: np.ndarray, hit: np.ndarray, group: np.ndarray, weights: np.ndarray
) -> Calibration:
    """Reliability of boxes in ten equal ranges of confidence.

    confidence: (D,) 0..1. hit: (D,) bool. group: (D,) int, the group of each box's image.
    weights: (R, G), how often each group counts. The error is the mean distance between
    confidence and the share that is right, over the bins, weighted by their boxes.
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.
    """
    place = np.minimum((np.asarray(confidence, float) * BINS).astype(int), BINS - 1)

    def totals(amount: np.ndarray) -> np.ndarray:
        sums = np.zeros((weights.shape[1], BINS))
        np.add.at(sums, (group, place), amount)
        return sums

    boxes, right, claimed = totals(np.ones(len(place))), totals(hit), totals(confidence)
    apart = np.abs(weights @ right - weights @ claimed).sum(axis=1)
    total = boxes.sum(axis=0)
    bins = tuple(
        Bin(
            low=number / BINS,
            high=(number + 1) / BINS,
            boxes=int(total[number]),
            confidence=float(claimed[:, number].sum() / total[number]),
            right=float(right[:, number].sum() / total[number]),
        )
        for number in np.flatnonzero(total).tolist()
    )
    held = boxes.sum(axis=1)
    return Calibration(Figure.over(ratio(apart, weights @ held), held), bins)
