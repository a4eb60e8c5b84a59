"""The strategy `exemplar`: more like these, for a cold start or a rare stage.

A candidate is as near as the box in it that is most like any of the marked cells, by the cosine of
their features in the version's own network. Features are whitened first, over all boxes of the
queue, in their 32 strongest directions: what all boxes have in common says nothing (Jégou, Chum,
Negative evidences and co-occurences in image retrieval: the benefit of PCA and whitening, ECCV
2012). The score is 0.375·(1 - cosine); where nothing is marked yet, or no box is there, chance
decides, after all that have one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.ordering import draw_units

DIRECTIONS = 32


def score_exemplar(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by its distance from the exemplars; see the module."""
    scores = 0.75 + draw_units(candidates, "exemplar") / 4
    owner = np.repeat(np.arange(len(candidates)), [len(c.boxes) for c in candidates])
    if context.exemplars is None or not len(context.exemplars) or not len(owner):
        return scores
    rows = np.concatenate([c.features for c in candidates if c.features is not None])
    marked, found = whiten([context.exemplars, rows], rows)
    likeness = (found @ marked.T).max(axis=1)
    nearest = np.full(len(candidates), -np.inf)
    np.maximum.at(nearest, owner, likeness)
    there = np.isfinite(nearest)
    scores[there] = 0.375 * np.clip(1 - nearest[there], 0, 2)
    return scores


def whiten(parts: Sequence[np.ndarray], among: np.ndarray) -> list[np.ndarray]:
    """Whiten features by the mean and the strongest directions of some of them.

    Args:
        parts: (N, D) each.
        among: (M, D).

    Returns:
        Of each part (N, at most DIRECTIONS), each row of length 1.
    """
    mean = among.mean(axis=0)
    centred = among - mean
    values, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64) / len(among))
    strong = np.flatnonzero(values > 1e-6 * max(values[-1], 1e-12))[-DIRECTIONS:]
    turn = (vectors[:, strong] / np.sqrt(values[strong])).astype(among.dtype)
    shown = [(rows - mean) @ turn for rows in parts]
    lengths = [np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9) for rows in shown]
    return [rows / length for rows, length in zip(shown, lengths, strict=True)]
