"""The precision-recall curve: precision against recall as the threshold falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.matching import MatchedDetections

RECALLS = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class CurvePoint:
    """One point of the curve.

    Attributes:
        recall: 0..1.
        precision: The best (0..1) at this recall or a higher one; 0 where this recall is never
            reached.
    """

    recall: float
    precision: float


def compute_precision_recall(matched: MatchedDetections) -> tuple[CurvePoint, ...]:
    """Compute the interpolated curve, at the first strictness of the matching.

    It is the curve behind average precision, read at 21 recalls.

    Returns:
        The points in rising order of recall; () without a true box.
    """
    truths = int(matched.truths.sum())
    if not truths:
        return ()
    hit = matched.hit[0][~matched.ignored[0]]
    found = np.cumsum(hit)
    precision = found / np.arange(1, len(hit) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(found / truths, RECALLS)
    reached = np.append(best, 0.0)[place]
    return tuple(map(CurvePoint, RECALLS.tolist(), reached.tolist()))
