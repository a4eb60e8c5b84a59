"""Calibration: of the boxes with confidence 0.8, are 80 % right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.bootstrap import Figure, divide_or_nan

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Boxes of similar confidence.

    Attributes:
        low: The lowest confidence of the bin, 0..1.
        high: The highest.
        boxes: How many boxes are in it, at least 1.
        confidence: Their mean confidence, 0..1.
        right: The share of them that is right, 0..1.
    """

    low: float
    high: float
    boxes: int
    confidence: float
    right: float


@dataclass(frozen=True)
class Calibration:
    """How well confidences agree with the share of boxes that is right.

    Attributes:
        error: The expected calibration error, 0 (perfect) to 1; undefined without boxes.
        bins: Those that hold a box, in rising order of confidence.
    """

    error: Figure
    bins: tuple[Bin, ...]


def measure_calibration(
    confidence: np.ndarray, hit: np.ndarray, group: np.ndarray, weights: np.ndarray
) -> Calibration:
    """Measure the reliability of boxes in ten equal ranges of confidence.

    The error is the mean distance between the confidence and the share that is right, over the
    bins, weighted by their boxes.
    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3.

    Args:
        confidence: (D,), 0..1.
        hit: (D,) bool, which boxes are right.
        group: (D,) int, the group of each box's image.
        weights: (R, G), how often each group counts.
    """
    bin_of = np.minimum((np.asarray(confidence, float) * BINS).astype(int), BINS - 1)

    def sum_by_bin(amount: np.ndarray) -> np.ndarray:
        sums = np.zeros((weights.shape[1], BINS))
        np.add.at(sums, (group, bin_of), amount)
        return sums

    boxes = sum_by_bin(np.ones(len(bin_of)))
    right, claimed = sum_by_bin(hit), sum_by_bin(confidence)
    distance = np.abs(weights @ right - weights @ claimed).sum(axis=1)
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
    by_group = boxes.sum(axis=1)
    error = Figure.from_resamples(divide_or_nan(distance, weights @ by_group), by_group)
    return Calibration(error, bins)
