"""Precision against recall, as the threshold falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml_backend.evaluation.matching import MatchedDetections

RECALLS = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True)
class Point:
    """precision: the best (0..1) at this recall (0..1) or a higher one; 0 beyond its reach."""

    recall: float
    precision: float


def precision_recall(tally: MatchedDetections) -> tuple[Point, ...]:
    """The interpolated curve at the tally's first strictness; () without a true box.

    The same curve as behind average precision, read at 21 recalls.
    """
    truths = int(tally.truths.sum())
    if not truths:
        return ()
    hit = tally.hit[0][~tally.ignored[0]]
    found = np.cumsum(hit)
    precision = found / np.arange(1, len(hit) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(found / truths, RECALLS)
    reached = np.append(best, 0.0)[place]
    return tuple(map(Point, RECALLS.tolist(), reached.tolist()))
