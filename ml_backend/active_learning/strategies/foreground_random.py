"""The strategy `foreground`: chance, but two of three show something that is sure.

Foreground-aware random sampling (Lüth et al., nnActive: a framework for evaluation of active
learning in 3D biomedical segmentation, 2025, arXiv 2511.19183): two thirds of what is reviewed are
drawn from what holds foreground, the rest from everything. It is the baseline that most published
strategies did not beat there. What holds foreground is known there from the labels; here the boxes
of which the version is sure stand for it. A version that does not know the images is sure of
next to nothing, so that everything is drawn from: what it shows then is no guide, and can be the
opposite of one (docs/review-queue.md).

Two streams, each in an order of its own by chance, are read at once: what holds foreground, two at
a time, and everything, one at a time. With u and v uniform in [0, 1) for each candidate, and s the
share of the queue that holds foreground, a candidate comes up at v in the second, in units of the
whole queue, and at u·s/2 in the first where it is in there; its score is the earlier of the two.
So a score needs nothing of the other candidates but s.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.ordering import draw_units

FOREGROUND_PER_OTHER = 2  # of each three, two hold foreground and one is any
SURE = 0.5  # the least confidence of a box that stands for foreground


def score_foreground(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by when it comes up; see the module."""
    held = np.array([is_foreground(c, context.threshold) for c in candidates], bool)
    share = context.foreground_share
    if share is None:
        share = held.mean() if len(held) else 0.0
    among_held = draw_units(candidates, "foreground") * share / FOREGROUND_PER_OTHER
    among_all = draw_units(candidates, "everything")
    return np.where(held, np.minimum(among_held, among_all), among_all)


def is_foreground(candidate: Candidate, threshold: float) -> bool:
    """Tell whether the version shows a box there of which it is sure."""
    return bool((candidate.boxes.confidence >= max(threshold, SURE)).any())
