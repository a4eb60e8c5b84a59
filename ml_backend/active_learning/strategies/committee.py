"""The strategy `committee`: where models that learned from parts of the images disagree most.

Query by committee (Seung, Opper, Sompolinsky, COLT 1992), for boxes. Two members disagree on a
candidate by the boxes that they do not share: D = Σ p + Σ q - 2 Σ min(p, q), the last over pairs of
boxes of one class with an IoU of at least 0.5, p and q their confidences. The score is
1 / (1 + mean of D over all pairs of members), the version itself being one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou

SAME_IOU = 0.5


def score_committee(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by how far the members agree."""
    return np.array([1 / (1 + _measure(candidate)) for candidate in candidates], np.float64)


def measure_disagreement(first: Boxes, second: Boxes) -> float:
    """Measure on how many boxes two members disagree, weighted by confidence; see the module."""
    total = float(first.confidence.sum(dtype=np.float64) + second.confidence.sum(dtype=np.float64))
    if not len(first) or not len(second):
        return total
    overlap = compute_iou(first.xyxy, second.xyxy)
    overlap[first.label[:, None] != second.label[None, :]] = 0
    near = sorted((-overlap[i, j], i, j) for i, j in np.argwhere(overlap >= SAME_IOU).tolist())
    pairs = choose_pairs((i, j) for _, i, j in near)
    shared = sum(min(first.confidence[i], second.confidence[j]) for i, j in pairs)
    return max(0.0, total - 2 * float(shared))


def _measure(candidate: Candidate) -> float:
    members = (candidate.boxes, *candidate.committee)
    if not any(map(len, members)):
        return 0.0
    pairs = [measure_disagreement(a, b) for a, b in combinations(members, 2)]
    return float(np.mean(pairs)) if pairs else 0.0
