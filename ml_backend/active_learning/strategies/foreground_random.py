"""The strategy `foreground`: chance, but two of three show something.

Foreground-aware random sampling (Lüth et al., nnActive: a framework for evaluation of active
learning in 3D biomedical segmentation, 2025, arXiv 2511.19183): two thirds of what is reviewed are
drawn from what holds foreground, the rest from everything. It is the baseline that most published
strategies did not beat there. What holds foreground is known there from the labels; here the boxes
that the version shows stand for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.ordering import draw_units, score_places, take_turns

FOREGROUND, EVERYTHING = 0, 1


def score_foreground(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by its place; see the module."""
    by_chance = np.argsort(draw_units(candidates, "foreground"), kind="stable").tolist()
    shown = [place for place in by_chance if is_foreground(candidates[place], context.threshold)]
    order = take_turns([shown, by_chance], (FOREGROUND, FOREGROUND, EVERYTHING))
    return score_places(order)


def is_foreground(candidate: Candidate, threshold: float) -> bool:
    """Tell whether the version shows a box there."""
    return bool((candidate.boxes.confidence >= threshold).any())
