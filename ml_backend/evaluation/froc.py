"""The free-response curve (FROC): sensitivity at a rate of false boxes an image, or a mm²."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.evaluation.bootstrap import divide_or_nan
from ml_backend.evaluation.matching import MatchedDetections

# The rates at which detection challenges read the curve (first LUNA16).
FALSE_AN_IMAGE = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


def pool_classes(matches: Sequence[MatchedDetections]) -> MatchedDetections:
    """Pool the boxes of several classes; a box is a hit only where its class is right too.

    Args:
        matches: Of the same images, at least one.
    """
    confidence = np.concatenate([matched.confidence for matched in matches])
    order = np.argsort(-confidence, kind="stable")
    return MatchedDetections(
        confidence[order],
        np.concatenate([matched.group for matched in matches])[order],
        np.concatenate([matched.hit for matched in matches], axis=1)[:, order],
        np.concatenate([matched.ignored for matched in matches], axis=1)[:, order],
        np.sum([matched.truths for matched in matches], axis=0),
    )


def compute_froc(
    matched: MatchedDetections,
    amount: np.ndarray,
    weights: np.ndarray,
    rates: Sequence[float] = FALSE_AN_IMAGE,
) -> np.ndarray:
    """Compute the best sensitivity that keeps to each rate of false boxes.

    Boxes of equal confidence are kept or dropped together.
    Source: Bandos et al. 2009, Biometrics 65:247, the empirical FROC curve.

    Args:
        matched: Matched boxes; the first strictness counts.
        amount: (G,), what the rates are by: how many images each group has, or their area.
        weights: (R, G), how often each group counts.
        rates: False boxes by unit of the amount.

    Returns:
        (R, rates), 0..1; NaN without a true box.
    """
    counted = ~matched.ignored[0]
    confidence, group, hit = (
        matched.confidence[counted],
        matched.group[counted],
        matched.hit[0][counted],
    )
    # The curve rises only at the confidences of hits, so only those are thresholds.
    thresholds = -np.unique(-confidence[hit])
    first = np.searchsorted(-thresholds, -confidence)  # the first threshold that keeps a box
    kept = first < len(thresholds)

    def count_kept(mask: np.ndarray) -> np.ndarray:
        counts = np.zeros((len(thresholds), weights.shape[1]))
        np.add.at(counts, (first[mask & kept], group[mask & kept]), 1)
        return weights @ np.cumsum(counts, axis=0).T

    found, wrong = count_kept(hit), count_kept(~hit)
    total = weights @ amount
    best = [
        np.where(wrong <= (rate * total)[:, None] + 1e-9, found, 0.0).max(axis=1, initial=0.0)
        for rate in rates
    ]
    truths = weights @ matched.truths
    return np.stack([divide_or_nan(hits, truths) for hits in best], axis=1)
