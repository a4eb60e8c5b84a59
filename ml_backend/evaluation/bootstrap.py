"""How certain a figure is: its bootstrap interval over groups of images.

Images of one sample resemble each other, so whole groups are resampled, with replacement
(Efron's percentile bootstrap). A resample is a row of weights: how often each group is in it.
A figure maps weights (R, G) to values (R,), all resamples at once. The first row of the
weights is all ones, and gives the figure itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ml_backend.evaluation.matching import MatchedDetections

RESAMPLES = 1000
# With fewer groups an interval would claim more than is known.
FEWEST_GROUPS = 8
_SEED = 20240229
_RECALL_LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Figure:
    """A figure, usually 0..1, and its 95 % interval.

    Attributes:
        value: None where it is undefined (a recall without anything to find).
        interval: (low, high); None where fewer than FEWEST_GROUPS groups contribute to the
            figure.
    """

    value: float | None
    interval: tuple[float, float] | None = None

    @classmethod
    def from_resamples(cls, values: np.ndarray, carriers: np.ndarray) -> Figure:
        """Make a figure of its values in all resamples.

        Args:
            values: (R,), NaN where undefined; the first is the value over the original groups.
            carriers: (G,) how much of the figure's denominator each group contributes.
        """
        if np.isnan(values[0]):
            return cls(None)
        resampled = values[1:][~np.isnan(values[1:])]
        if np.count_nonzero(carriers) < FEWEST_GROUPS or not len(resampled):
            return cls(float(values[0]))
        low, high = np.percentile(resampled, [2.5, 97.5])
        return cls(float(values[0]), (float(low), float(high)))


@lru_cache(maxsize=16)
def make_bootstrap_weights(groups: int, resamples: int = RESAMPLES) -> np.ndarray:
    """Make the weights of groups in every bootstrap resample.

    Args:
        groups: How many groups there are, G.
        resamples: How many resamples to make.

    Returns:
        (1 + resamples, G) float, read-only, the first row all ones. The seed is fixed, so the
        weights are the same at every call.
    """
    weights = np.ones((1 + resamples, groups))
    if groups:
        generator = np.random.default_rng(_SEED)
        share = np.full(groups, 1 / groups)
        weights[1:] = generator.multinomial(groups, share, size=resamples)
    weights.setflags(write=False)
    return weights


def divide_or_nan(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide element by element; NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def average_defined(values: np.ndarray) -> np.ndarray:
    """Average over axis 0 what is not NaN; NaN where all values are."""
    return divide_or_nan(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))


def compute_average_precision(
    matched: MatchedDetections, level: int, weights: np.ndarray
) -> np.ndarray:
    """Compute average precision with COCO's 101-point interpolation.

    It is the mean, over recalls 0, 0.01 … 1, of the best precision at that recall or a higher
    one (0 where that recall is never reached).
    Source: COCOeval.accumulate of pycocotools.

    Args:
        matched: The matched boxes of one class.
        level: The index in IOU_LEVELS of the overlap that a hit needs.
        weights: (R, G), how often each group counts.

    Returns:
        (R,), 0..1; NaN without a true box.
    """
    counted = ~matched.ignored[level]
    hit, group = matched.hit[level][counted], matched.group[counted]
    # Precision matters only where recall rises, at the hits. So it is enough to count the
    # hits and misses of each group up to each hit: (H, G), not (D, G).
    before = np.cumsum(hit) - hit
    hits = np.zeros((int(hit.sum()), weights.shape[1]))
    hits[before[hit], group[hit]] = 1
    misses = np.zeros((len(hits) + 1, weights.shape[1]))
    np.add.at(misses, (before[~hit], group[~hit]), 1)
    found = weights @ np.cumsum(hits, axis=0).T
    wrong = weights @ np.cumsum(misses[:-1], axis=0).T
    positives = weights @ matched.truths
    if not len(hits):
        return np.where(positives > 0, 0.0, np.nan)
    precision = found / (found + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(found, positives[:, None], where=positives[:, None] > 0, out=found * 0)
    reached = np.searchsorted(_RECALL_LEVELS, recall, side="right")
    newly = np.diff(reached, axis=1, prepend=0)
    return np.where(positives > 0, (best * newly).sum(axis=1) / len(_RECALL_LEVELS), np.nan)


def compute_sensitivity_at_specificity(
    confidence: np.ndarray,
    positive: np.ndarray,
    specificity: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Compute the best sensitivity among thresholds that keep at least this specificity.

    Args:
        confidence: (I,), the highest confidence of a headline box in each image, 0 where
            there is none.
        positive: (I,) bool, whether the image truly holds a headline object.
        specificity: At least this share (0..1) of the negative images is called negative.
        weights: (R, I), how often each image counts; None: every image once.

    Returns:
        (R,), or (1,) without weights; NaN without a positive or without a negative image.
    """
    if weights is None:
        weights = np.ones((1, len(confidence)))
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    yes, no = weights[:, order] * positive[order], weights[:, order] * ~positive[order]
    # A threshold lies between two different confidences. An image without a box is never positive.
    cuts = np.flatnonzero((np.diff(ranked, append=-1.0) != 0) & (ranked > 0))
    allowed = (1 - specificity) * no.sum(axis=1) + 1e-9
    within = np.cumsum(no, axis=1)[:, cuts] <= allowed[:, None]
    found = np.where(within, np.cumsum(yes, axis=1)[:, cuts], 0.0).max(axis=1, initial=0.0)
    return np.where(no.sum(axis=1) > 0, divide_or_nan(found, yes.sum(axis=1)), np.nan)
