"""Projects whose queue was not drawn: which of their reviewed tiles are a random sample.

Two orders of a project's tasks are by chance, by hashes that were fixed before anybody looked:
that of the strategy `random`, and that in which held-out tasks take their places in any queue.
The unbroken beginning of either is a random sample of all tasks; held-out ones only where every
task is a group of its own, since groups are held out as wholes.

The detector may help (prediction-powered inference) only if it was trained on none of the tiles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ml_backend.active_learning.queue import name_task
from ml_backend.active_learning.strategies.base import Candidate, Context
from ml_backend.active_learning.strategies.random_order import score_randomly
from ml_backend.dataset.split import compute_queue_place, read_group
from ml_backend.estimation.estimate import Estimate
from ml_backend.estimation.prediction_powered import Refusal, estimate_powered_total
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import list_items
from ml_backend.system.numbers import parse_number


def order_randomly(tasks: Sequence[Mapping[str, Any]], image_key: str) -> list[int]:
    """Order tasks as the strategy `random` does.

    Args:
        tasks: Label Studio's, with their data.
        image_key: Of the labels.

    Returns:
        Their ids, the first to be reviewed first.
    """
    names = [name_task(task["data"], str(task["data"].get(image_key))) for task in tasks]
    scores = score_randomly([Candidate(name, Boxes()) for name in names], Context(0.5))
    return [tasks[place]["id"] for place in np.argsort(scores, kind="stable")]


def order_held_out(tasks: Sequence[Mapping[str, Any]], image_key: str) -> list[int]:
    """Order the held-out tasks as they come in any queue.

    Args:
        tasks: Label Studio's, with their data.
        image_key: Of the labels.

    Returns:
        Their ids; none where they are no random sample of all tasks, because groups of several
        tasks were held out.
    """
    images = [str(task["data"].get(image_key)) for task in tasks]
    groups = Counter(
        read_group(task["data"], image) for task, image in zip(tasks, images, strict=True)
    )
    if any(number > 1 for number in groups.values()):
        return []
    places = [
        (place, task["id"])
        for task, image in zip(tasks, images, strict=True)
        if (place := compute_queue_place(task["data"], image)) is not None
    ]
    return [task for _, task in sorted(places)]


def take_beginning(order: Iterable[int], reviewed: Collection[int]) -> list[int]:
    """Take the unbroken beginning of an order that was reviewed."""
    taken = []
    for task in order:
        if task not in reviewed:
            break
        taken.append(task)
    return taken


def read_predicted(tasks: Iterable[Mapping[str, Any]], version: str) -> dict[int, float]:
    """Read how many objects a version marked on each task: the sum of their confidences.

    Args:
        tasks: Label Studio's, with their predictions.
        version: The version.

    Returns:
        By task; those that it predicted with nothing shown on purpose are not in it.
    """
    predicted = {}
    for task in tasks:
        if task["data"].get("blind") is True:
            continue
        for prediction in task.get("predictions") or []:
            if str(prediction.get("model_version")) == version:
                scores = [
                    parse_number(item.get("score"), 0, 1) or 0.0
                    for item in list_items(prediction.get("result"))
                ]
                predicted[task["id"]] = float(sum(scores))
    return predicted


def power_estimate(
    sample: Sequence[int],
    counts: Mapping[int, float],
    tasks: Sequence[int],
    predicted: Mapping[int, float],
    is_trained_on: bool,
) -> Estimate | Refusal:
    """Estimate a total with the detector's help, where that is valid and worth it.

    A tile without a prediction is taken for one like the mean of the others: what is predicted
    need not be right, only be settled before anybody counts.

    Args:
        sample: Tasks that were reviewed at random.
        counts: By task, what people counted there.
        tasks: All tasks.
        predicted: By task, what the version predicted.
        is_trained_on: Whether the version was trained on any of the tasks.
    """
    if is_trained_on:
        return Refusal("the version was trained on some of these tiles, so it knows what is there")
    if not predicted:
        return Refusal("no predictions of the version are in the project")
    mean = float(np.mean(list(predicted.values())))
    others = sorted(set(tasks) - set(sample))
    return estimate_powered_total(
        np.random.default_rng(0),
        np.array([counts[task] for task in sample], float),
        np.array([predicted.get(task, mean) for task in sample], float),
        np.array([predicted.get(task, mean) for task in others], float),
    )
