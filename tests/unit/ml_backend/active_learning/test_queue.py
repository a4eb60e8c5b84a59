"""Scores in a queue: the strategy's, and those of tasks that have a place of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.active_learning.queue import QueuedTask, ReviewQueue, name_task, score_at_place
from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.table import STRATEGIES
from ml_backend.imaging.boxes import Boxes


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_place_in_the_queue_is_a_share_of_the_tasks(
    scores: list[float], a: float, b: float
) -> None:
    first, last = (score_at_place(place, scores) for place in sorted((a, b)))
    assert 0 <= first <= last <= 1
    assert sum(score < first for score in scores) <= min(a, b) * len(scores) + 1


def test_places_at_random_leave_held_out_tasks_everywhere_in_the_queue() -> None:
    scores = np.random.default_rng(0).beta(8, 1, 400)  # most tasks are certain
    held = [score_at_place(place, scores.tolist()) for place in np.linspace(0, 1, 100)]
    queue = np.sort(np.concatenate([scores, held]))
    ranks = np.searchsorted(queue, held)
    for quarter in range(4):
        inside = (ranks >= 125 * quarter) & (ranks < 125 * (quarter + 1))
        assert 20 <= inside.sum() <= 30


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_scores_what_has_no_place_of_its_own(name: str) -> None:
    strategy, context = STRATEGIES[name], Context(0.3)
    candidates = [Candidate(f"{number}.png", Boxes()) for number in range(3)]
    found = strategy.score(candidates, context).tolist()
    told: list[float] = []

    def remember(scores: object) -> list[float]:
        told.extend(scores)  # type: ignore[call-overload]
        return [0.0, 0.5]

    counted: list[tuple[int, int]] = []

    def count_foreground(held: int, seen: int) -> float:
        counted.append((held, seen))
        return 0.0

    scores = ReviewQueue(strategy, remember, count_foreground).score(
        [
            QueuedTask(candidates[0], None),
            QueuedTask(None, 0.5),  # shown without boxes
            QueuedTask(candidates[1], 1.0),  # held out
            QueuedTask(None, None),
            QueuedTask(candidates[2], None),
        ],
        context,
    )
    assert scores == [found[0], 0.25, 0.5, 1.0, found[2]]
    assert told == found  # those of held-out tasks say as well how scores are distributed
    # What is shown without boxes says nothing, and only one strategy asks.
    assert counted == ([(0, 3)] if name == "foreground" else [])


def test_a_task_is_named_by_what_it_shows() -> None:
    assert name_task({"sha256": "ab"}, "/1.png") == name_task({"sha256": "ab"}, "/2.png") == "ab"
    assert name_task({"sha256": ""}, "/1.png") == "/1.png"
