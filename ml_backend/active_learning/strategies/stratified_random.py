"""The strategy `stratified`: chance, but each class that is seen and the empty have equal shares.

Stratified random sampling (Cochran, Sampling Techniques, 1977, chapter 5) with one stratum for each
class of the most confident shown box, and one for what shows none. The strata take turns; within
one, every order is as likely as any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.ordering import draw_units, score_places, take_turns


def score_stratified(candidates: Sequence[Candidate], context: Context) -> np.ndarray:
    """Score each candidate by its place in the order in which the strata take turns."""
    by_chance = np.argsort(draw_units(candidates, "stratified"), kind="stable").tolist()
    strata: dict[str, list[int]] = {}
    for place in by_chance:
        strata.setdefault(find_stratum(candidates[place], context.threshold), []).append(place)
    streams = [strata[name] for name in sorted(strata)]
    return score_places(take_turns(streams, range(len(streams))))


def find_stratum(candidate: Candidate, threshold: float) -> str:
    """Find the class of a candidate's most confident shown box; "" where none is shown."""
    boxes = candidate.boxes
    if not (boxes.confidence >= threshold).any():
        return ""
    return str(boxes.label[boxes.confidence.argmax()])
