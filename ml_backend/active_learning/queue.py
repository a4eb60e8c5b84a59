"""The scores that put a project's tasks in the order of its review queue.

Held-out tasks are different from the others: a judgement on the most doubtful images alone
would say little about the rest, so they come at random places of the queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from ml_backend.active_learning.strategies.base import Candidate, Context, Strategy
from ml_backend.active_learning.strategies.foreground_random import is_foreground


@dataclass(frozen=True)
class QueuedTask:
    """A task that gets a score.

    Attributes:
        candidate: What a strategy knows of it; None where nothing was detected on purpose,
            because the task is shown without boxes.
        place: Where it belongs in the queue whatever its candidate shows, 0 first and 1 last;
            None where the strategy decides.
        task: Label Studio's id; None while the task is not there yet.
    """

    candidate: Candidate | None
    place: float | None
    task: int | None = None


class Queue(Protocol):
    """What puts the tasks of a project in an order."""

    def score(self, tasks: Sequence[QueuedTask], context: Context) -> list[float]:
        """Score tasks, 0..1, in their order; the lowest is reviewed first."""
        ...


@dataclass(frozen=True)
class ReviewQueue:
    """The order in which the tasks of a project are reviewed.

    Attributes:
        strategy: What scores the tasks.
        remember: Is called with the scores of tasks that are scored together. Returns those
            among which held-out tasks get their places, which may be earlier ones.
        count_foreground: Is told how many of so many tasks, scored together, hold foreground.
            Returns the share of all that it was ever told of, 0..1. Called for strategies that
            need it.
    """

    strategy: Strategy
    remember: Callable[[Sequence[float]], Sequence[float]]
    count_foreground: Callable[[int, int], float]

    def score(self, tasks: Sequence[QueuedTask], context: Context) -> list[float]:
        """Score tasks, in their order; the lowest is reviewed first.

        Returns:
            A number in 0..1 for each. A task with neither a candidate nor a place comes last.
        """
        known = [task.candidate for task in tasks if task.candidate is not None]
        if "foreground_share" in self.strategy.needs:
            held = sum(is_foreground(candidate, context.threshold) for candidate in known)
            share = self.count_foreground(held, len(known))
            context = replace(context, foreground_share=share)
        found = self.strategy.score(known, context).tolist()
        among = self.remember(found)
        by_strategy = iter(found)
        scores = [1.0 if task.candidate is None else next(by_strategy) for task in tasks]
        return [
            score if task.place is None else score_at_place(task.place, among)
            for task, score in zip(tasks, scores, strict=True)
        ]


def score_at_place(place: float, scores: Sequence[float]) -> float:
    """Score a task that belongs at a random place of the queue.

    Args:
        place: 0 is first, 1 last.
        scores: Of the other tasks, in any order.

    Returns:
        The quantile of the scores at that place, 0..1; where no score is known, the place.
    """
    return float(np.quantile(scores, place)) if len(scores) else place


def name_task(data: Mapping[str, Any], image: str) -> str:
    """Name what a task shows, by the hash of its image, else by its address.

    Args:
        data: The task's data.
        image: The address of its image.
    """
    return str(data.get("sha256") or image)
