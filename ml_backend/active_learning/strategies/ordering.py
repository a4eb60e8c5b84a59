"""What strategies of a whole queue share: chance by hash, streams that take turns, places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate
from ml_backend.dataset.split import hash_to_unit


def draw_units(candidates: Sequence[Candidate], purpose: str) -> np.ndarray:
    """Draw a number in [0, 1) for each candidate, the same at every call.

    Args:
        candidates: By whose keys is drawn.
        purpose: Another purpose gives other numbers.

    Returns:
        (N,) float64.
    """
    return np.array([hash_to_unit(f"cytoloop {purpose}/{c.key}") for c in candidates], np.float64)


def take_turns(streams: Sequence[Iterable[int]], pattern: Sequence[int]) -> list[int]:
    """Put streams together that take turns by a pattern; each item comes once, at its first turn.

    Args:
        streams: Indices, the best first. One that has come to its end is passed over.
        pattern: Whose turn it is, again and again: indices of the streams.
    """
    waiting = [iter(stream) for stream in streams]
    order: dict[int, None] = {}
    ended: set[int] = set()
    for turn in cycle(pattern):
        if len(ended) == len(streams):
            break
        following = next((item for item in waiting[turn] if item not in order), None)
        if following is None:
            ended.add(turn)
        else:
            order[following] = None
    return list(order)


def score_places(order: Sequence[int]) -> np.ndarray:
    """Score by place: 0 for the first of an order of all N candidates, then rising, below 1."""
    scores = np.empty(len(order), np.float64)
    scores[np.asarray(order, int)] = np.arange(len(order)) / max(len(order), 1)
    return scores
