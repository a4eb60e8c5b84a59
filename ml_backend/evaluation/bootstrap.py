"""How sure a figure is: the same figure over many resamples of the groups.

Images of one sample resemble each other, so whole groups are drawn, with replacement
(Efron's percentile bootstrap). A resample is a row of weights, how often each group was
drawn; a figure maps weights (R, G) to values (R,), all resamples at once. The first row
is all ones: the figure itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ml_backend.evaluation.matching import MatchedDetections

RESAMPLES = 1000
# Below this many groups an interval would say more than is known.
FEWEST_GROUPS = 8
_SEED = 20240229
_RECALL_LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Figure:
    """A figure, usually 0..1, and its 95 % interval.

    value: None where it is undefined (a recall without anything to find).
    interval: (low, high); None where fewer than FEWEST_GROUPS groups carry the figure.
    """

    value: float | None
    interval: tuple[float, float] | None = None

    @classmethod
    def over(cls, values: np.ndarray, carriers: np.ndarray) -> Figure:
        """From a figure's values (R,), the first of all groups as they are, NaN undefined.

        carriers: (G,) how much of its denominator each group holds.
        """
        if np.isnan(values[0]):
            return cls(None)
        drawn = values[1:][~np.isnan(values[1:])]
        if np.count_nonzero(carriers) < FEWEST_GROUPS or not len(drawn):
            return cls(float(values[0]))
        low, high = np.percentile(drawn, [2.5, 97.5])
        return cls(float(values[0]), (float(low), float(high)))


@lru_cache(maxsize=16)
def draw_weights(groups: int, resamples: int = RESAMPLES) -> np.ndarray:
    """(1 + resamples, groups) float, read only; the same at every call."""
    weights = np.ones((1 + resamples, groups))
    if groups:
        generator = np.random.default_rng(_SEED)
        share = np.full(groups, 1 / groups)
        weights[1:] = generator.multinomial(groups, share, size=resamples)
    weights.setflags(write=False)
    return weights


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def mean_defined(values: np.ndarray) -> np.ndarray:
    """The mean over axis 0 of what is not NaN; NaN where nothing is."""
    return ratio(np.nansum(values, axis=0), (~np.isnan(values)).sum(axis=0))


def average_precision(tally: MatchedDetections, level: int, weights: np.ndarray) -> np.ndarray:
    """Average precision at IOU_LEVELS[level], COCO's 101-point interpolation: (R,).

    The mean, over recalls 0, 0.01 … 1, of the best precision at that recall or a higher
    one (0 where it is never reached). NaN without a true box.
    Source: COCOeval.accumulate of pycocotools.
    """
    counted = ~tally.ignored[level]
    hit, group = tally.hit[level][counted], tally.group[counted]
    # Precision matters only where recall rises, at the hits. So what is needed is how
    # many hits and misses of each group there are up to each hit: (H, G), not (D, G).
    before = np.cumsum(hit) - hit
    hits = np.zeros((int(hit.sum()), weights.shape[1]))
    hits[before[hit], group[hit]] = 1
    misses = np.zeros((len(hits) + 1, weights.shape[1]))
    np.add.at(misses, (before[~hit], group[~hit]), 1)
    found = weights @ np.cumsum(hits, axis=0).T
    wrong = weights @ np.cumsum(misses[:-1], axis=0).T
    positives = weights @ tally.truths
    if not len(hits):
        return np.where(positives > 0, 0.0, np.nan)
    precision = found / (found + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.divide(found, positives[:, None], where=positives[:, None] > 0, out=found * 0)
    reached = np.searchsorted(_RECALL_LEVELS, recall, side="right")
    newly = np.diff(reached, axis=1, prepend=0)
    return np.where(positives > 0, (best * newly).sum(axis=1) / len(_RECALL_LEVELS), np.nan)


def sensitivity_at(
    confidence: np.ndarray,
    positive: np.ndarray,
    specificity: float,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """The best sensitivity among thresholds that keep at least this specificity: (R,).

    confidence: (I,) of the surest headline box of each image, 0 where there is none.
    positive: (I,) bool, the truth. weights: (R, I) of the images, or None for (1,).
    NaN where there is no positive or no negative image.
    """
    if weights is None:
        weights = np.ones((1, len(confidence)))
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    yes, no = weights[:, order] * positive[order], weights[:, order] * ~positive[order]
    # A threshold lies between two different confidences; an image without a box is never called.
    cuts = np.flatnonzero((np.diff(ranked, append=-1.0) != 0) & (ranked > 0))
    allowed = (1 - specificity) * no.sum(axis=1) + 1e-9
    within = np.cumsum(no, axis=1)[:, cuts] <= allowed[:, None]
    found = np.where(within, np.cumsum(yes, axis=1)[:, cuts], 0.0).max(axis=1, initial=0.0)
    return np.where(no.sum(axis=1) > 0, ratio(found, yes.sum(axis=1)), np.nan)
