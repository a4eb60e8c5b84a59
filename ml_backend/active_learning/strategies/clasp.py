"""The strategy `clasp`: doubtful boxes of every class, with much chance at first and less later.

After ClaSP PE, class-stratified scheduled power predictive entropy (Lüth et al., Finally outshining
the random baseline, 2026, arXiv 2601.13677), which beat foreground-aware random sampling in
segmentation. For boxes: a candidate is worth u = Σ p·H(p) over its boxes of confidence p, H the
binary entropy.
Two thirds of what is reviewed are divided over the predicted classes, with u over the boxes of the
class; the rest is by u over all. Each is ranked by log u + Gumbel(0, 1/β) (power sampling: drawing
without replacement in proportion to u^β); β = 2^round, so chance rules at first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.entropy import compute_entropy
from ml_backend.active_learning.strategies.ordering import draw_units, score_places, take_turns

MOST_DOUBLINGS = 10


def score_clasp(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by its place; see the module."""
    owner = np.repeat(np.arange(len(candidates)), [len(c.boxes) for c in candidates])
    p = np.concatenate([np.zeros(0), *(c.boxes.confidence for c in candidates)])
    label = np.concatenate([np.zeros(0, np.str_), *(c.boxes.label for c in candidates)])
    worth = p * compute_entropy(p)
    beta = 2.0 ** min(context.round, MOST_DOUBLINGS)

    def rank(mask: np.ndarray, name: str) -> list[int]:
        u = np.bincount(owner[mask], worth[mask], minlength=len(candidates))
        chance = np.clip(draw_units(candidates, f"clasp {context.round} {name}"), 1e-12, 1 - 1e-12)
        log_u = np.log(u, out=np.full(len(u), -np.inf), where=u > 0)
        noisy = log_u - np.log(-np.log(chance)) / beta
        return [int(i) for i in np.lexsort((chance, -noisy)) if u[i] > 0 or not name]

    classes = [str(name) for name in np.unique(label)]
    streams = [rank(np.ones(len(p), bool), ""), *(rank(label == n, n) for n in classes)]
    # Of each class two turns, and one over all for each of them: two thirds to one.
    pattern = [turn for place in range(len(classes)) for turn in (place + 1, place + 1, 0)]
    return score_places(take_turns(streams, pattern or [0]))
