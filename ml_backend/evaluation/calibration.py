"""Calibration: of the boxes with confidence 0.8, are 80 % right? And what makes it so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.bootstrap import Figure, divide_or_nan

BINS = 10
# How strongly slope and offset are drawn to 1 and 0, which change nothing: as the inverse of the
# variance of a normal prior. With some dozens of boxes the data decides, with a handful not.
_PRIOR = 1.0
_LEAST = 1e-6


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


@dataclass(frozen=True)
class PlattScaling:
    """p = σ(slope · logit(confidence) + offset), which keeps the order of boxes.

    Attributes:
        slope: Above 0; below 1 where a model is too sure.
        offset: Of the logit.
    """

    slope: float = 1.0
    offset: float = 0.0

    def scale(self, confidence: np.ndarray) -> np.ndarray:
        """Scale confidences, 0..1, to probabilities."""
        return _expit(self.slope * _logit(confidence) + self.offset)

    def invert(self, probability: float) -> float:
        """Find the confidence that is scaled to a probability, 0..1."""
        return float(_expit((_logit(np.array(probability)) - self.offset) / self.slope))


def fit_platt_scaling(confidence: np.ndarray, hit: np.ndarray) -> PlattScaling:
    """Fit the scaling that makes the hits most likely.

    Logistic regression of the hits on the logit of the confidence, with a normal prior on slope
    and offset. Source: Platt 1999, Probabilistic Outputs for Support Vector
    Machines; Guo et al. 2017 for networks.

    Args:
        confidence: (D,), 0..1, of boxes that the model was not trained on.
        hit: (D,) bool, which of them are right.
    """
    # Most who import this module only scale.
    from scipy.optimize import minimize
    from scipy.special import expit, log_expit

    x = _logit(confidence)
    sign = np.where(hit, 1.0, -1.0)
    start = np.array([1.0, 0.0])

    def measure_misfit(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (weights[0] * x + weights[1])
        pull = -sign * expit(-margin)
        moved = weights - start
        misfit = -log_expit(margin).sum() + _PRIOR / 2 * moved @ moved
        return float(misfit), np.array([pull @ x, pull.sum()]) + _PRIOR * moved

    slope, offset = minimize(measure_misfit, start, jac=True, method="BFGS").x
    # Confidences that say nothing, or the contrary, must still keep their order.
    return PlattScaling(max(float(slope), 0.05), float(offset))


def _logit(p: np.ndarray) -> np.ndarray:
    p = np.clip(np.asarray(p, np.float64), _LEAST, 1 - _LEAST)
    return np.log(p) - np.log1p(-p)


def _expit(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))
