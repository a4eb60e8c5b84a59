"""How much is found at so many false boxes an image, or a mm²: the free-response curve (FROC)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.evaluation.bootstrap import ratio
from ml_backend.evaluation.matching import MatchedDetections

# The rates at which detection challenges read the curve (first LUNA16).
FALSE_AN_IMAGE = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0)


def pooled(tallies: Sequence[MatchedDetections]) -> MatchedDetections:
    """Several classes as one: a box has found something only where its class is right too.

    tallies: of the same images, at least one.
    """
    confidence = np.concatenate([one.confidence for one in tallies])
    order = np.argsort(-confidence, kind="stable")
    return MatchedDetections(
        confidence[order],
        np.concatenate([one.group for one in tallies])[order],
        np.concatenate([one.hit for one in tallies], axis=1)[:, order],
        np.concatenate([one.ignored for one in tallies], axis=1)[:, order],
        np.sum([one.truths for one in tallies], axis=0),
    )


def sensitivity_at_rates(
    tally: MatchedDetections,
    amount: np.ndarray,
    weights: np.ndarray,
    rates: Sequence[float] = FALSE_AN_IMAGE,
) -> np.ndarray:
    """The best sensitivity (0..1) that keeps to each rate of false boxes: (R, rates).

    Matching is that of the tally's first strictness. amount: (G,) of what the rates are by, how
    many images each group has or how large their area is. weights: (R, G), how often each group
    counts. Boxes of equal confidence are called all or none. NaN without a true box.
    Source: Bandos et al. 2009, Biometrics 65:247, the empirical FROC curve.
    """
    counted = ~tally.ignored[0]
    confidence, group, hit = tally.confidence[counted], tally.group[counted], tally.hit[0][counted]
    # The curve rises only at confidences that some hit has, so only those are cuts.
    cuts = -np.unique(-confidence[hit])
    place = np.searchsorted(-cuts, -confidence)  # the first cut at which a box is called
    reached = place < len(cuts)

    def called(which: np.ndarray) -> np.ndarray:
        counts = np.zeros((len(cuts), weights.shape[1]))
        np.add.at(counts, (place[which & reached], group[which & reached]), 1)
        return weights @ np.cumsum(counts, axis=0).T

    found, wrong = called(hit), called(~hit)
    shown = weights @ amount
    best = [
        np.where(wrong <= (rate * shown)[:, None] + 1e-9, found, 0.0).max(axis=1, initial=0.0)
        for rate in rates
    ]
    truths = weights @ tally.truths
    return np.stack([ratio(one, truths) for one in best], axis=1)
