"""What people counted on the tiles of a project, in the order in which the tiles were drawn.

Only the unbroken beginning of the order counts: whoever leaves out the tiles that look dull makes
the number worthless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml_backend.counting.sample import DrawnTile
from ml_backend.dataset.consensus import (
    Policy,
    Submission,
    collect_submissions,
    count_deciding,
    settle_boxes,
    settle_choices,
)
from ml_backend.label_studio.labeling_config import LabelingConfig, list_items
from ml_backend.system.numbers import LONGEST_SIDE, parse_number, parse_size


@dataclass(frozen=True)
class ReviewedTiles:
    """Tiles that were reviewed in the order in which they were drawn, and what is on them.

    Attributes:
        classes: The C labels of the project.
        headline: Those that the draws' claims are about.
        counts: (C, n) what people counted on each tile, in the order of the draws.
        probability: (n,) of each draw.
        expected: (n,) headline objects that were expected on each tile before it was drawn.
        expected_left: (n,) the same on all tiles then left.
        tiles: N, of which these were drawn.
        known: (C,) what people counted on tiles that stand for themselves alone: reviewed before
            the drawing began, or before the last tiles came into the project.
        known_tiles: How many those are.
        naive: What the detector claims for all tiles together, headline classes alone; None
            where no claims are known.
        waiting: Reviewed tiles that do not count yet.
        missing: The task that must be reviewed before those count; None where none waits.
        uncounted: Tiles that came after the last draw: they are in no number yet.
        samples: Of each of the n tiles, the scan, sample or slide that it belongs to.
        sizes: By scan, sample or slide, how many tiles it has; empty where there are none.
        known_in: By scan, sample or slide, the part of `known` that is there.
    """

    classes: tuple[str, ...]
    headline: tuple[str, ...]
    counts: np.ndarray
    probability: np.ndarray
    expected: np.ndarray
    expected_left: np.ndarray
    tiles: int
    known: np.ndarray
    known_tiles: int
    naive: float | None = None
    waiting: int = 0
    missing: int | None = None
    uncounted: int = 0
    samples: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)
    known_in: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def is_even(self) -> bool:
        """Whether every tile was as likely to be reviewed as any other, or all were."""
        number = len(self.probability)
        if number == self.tiles:
            return True
        uniform = 1 / (self.tiles - np.arange(number))
        return not self.known_tiles and np.allclose(self.probability, uniform)


def count_classes(
    tasks: Iterable[dict[str, Any]], labels: LabelingConfig, policy: Policy
) -> dict[int, np.ndarray]:
    """Count the objects of each class on every reviewed task.

    Args:
        tasks: Label Studio's, with annotations.
        labels: Of the project.
        policy: What counts of several annotators of a task.

    Returns:
        By task, (C,) numbers of objects for `list_classes(labels)`; an image that was given a
        class as a whole is one object of it.
    """
    classes = list_classes(labels)
    counts = {}
    for submission in collect_submissions(tasks):
        found = _list_objects(submission, labels, policy)
        counts[submission.task] = np.array([found.count(name) for name in classes], float)
    return counts


def list_classes(labels: LabelingConfig) -> tuple[str, ...]:
    """List what a project counts: the labels of its boxes, then the classes of whole images."""
    return tuple(dict.fromkeys((*labels.values, *labels.choice_values)))


def _list_objects(submission: Submission, labels: LabelingConfig, policy: Policy) -> list[str]:
    several = count_deciding(submission, policy)
    results = submission.results[:several]
    items = [item for result in submission.results for item in list_items(result)]
    sizes = (parse_size(i.get("original_width"), i.get("original_height")) for i in items)
    size = next(filter(None, sizes), (0, 0))
    boxes = settle_boxes([labels.read_boxes(result, *size)[0] for result in results], policy)
    if frame := _read_frame(submission.data):
        left, top, right, bottom = frame
        x, y = boxes.xyxy[:, 2:].T
        boxes = boxes.select((left < x) & (x <= right) & (top < y) & (y <= bottom))
    chosen = settle_choices([labels.read_choices(result) for result in results], policy)
    return [*map(str, boxes.label), *(chosen or ())]


def _read_frame(data: Mapping[str, Any]) -> list[float] | None:
    """Read where on a tile the lower right corner of an object must lie to count there, px."""
    frame = data.get("frame")
    if not isinstance(frame, list) or len(frame) != 4:
        return None
    sides = [parse_number(side, 0, LONGEST_SIDE) for side in frame]
    return None if None in sides else [side for side in sides if side is not None]


def select_reviewed(
    drawn: Sequence[DrawnTile],
    counts: Mapping[int, np.ndarray],
    classes: tuple[str, ...],
    headline: tuple[str, ...],
    *,
    present: Iterable[int],
    naive: float | None = None,
    samples: Mapping[int, str] | None = None,
) -> ReviewedTiles:
    """Select the tiles that count: the unbroken beginning of the order.

    A tile that was deleted lies outside of what is counted, so nothing is on it. Where tiles came
    into the project, the tiles drawn before stand for themselves alone from then on, and the
    estimate begins anew with the rest.

    Args:
        drawn: In their order.
        counts: By task, (C,) what people counted on it.
        classes: The C labels.
        headline: Those that the claims are about.
        present: The tasks that are there now.
        naive: What the detector claims for all tiles together.
        samples: By task, the scan, sample or slide that it belongs to.
    """
    samples = samples or {}
    there = set(present)
    nothing = np.zeros(len(classes))
    reviewed: list[np.ndarray] = []
    missing = None
    for tile in drawn:
        if tile.task in counts:
            reviewed.append(counts[tile.task])
        elif tile.task not in there:
            reviewed.append(nothing)
        else:
            missing = tile.task
            break
    counted = drawn[: len(reviewed)]
    first = _find_last_beginning(counted)
    known, used = reviewed[:first], counted[first:]
    # Tiles may have been deleted before they were drawn, so the last draw tells how many there are.
    if used:
        tiles = len(used) + used[-1].tiles_left - 1
    else:
        tiles = drawn[first].tiles_left if first < len(drawn) else 0
    uncounted = max(0, len(there) - first - tiles)
    return ReviewedTiles(
        classes,
        headline,
        np.array(reviewed[first:]).reshape(-1, len(classes)).T,
        np.array([tile.probability for tile in used]),
        np.array([tile.expected for tile in used]),
        np.array([tile.expected_left for tile in used]),
        tiles,
        np.sum(known, axis=0) if known else nothing,
        len(known),
        None if uncounted else naive,  # the claims are of all tiles that are there
        len(counts.keys() & there) - sum(tile.task in counts for tile in counted),
        missing,
        uncounted,
        tuple(samples.get(tile.task, "") for tile in used),
        Counter(samples.values()),
        _add_up_by_sample([tile.task for tile in drawn[:first]], known, samples),
    )


def _add_up_by_sample(
    tasks: Sequence[int], counts: Sequence[np.ndarray], samples: Mapping[int, str]
) -> dict[str, np.ndarray]:
    totals: dict[str, np.ndarray] = {}
    for task, found in zip(tasks, counts, strict=True):
        if task in samples:
            totals[samples[task]] = totals.get(samples[task], 0) + found
    return totals


def _find_last_beginning(drawn: Sequence[DrawnTile]) -> int:
    """Find the first tile that stands for others too, since new ones came into the project.

    Where they came, the tiles that are left became no fewer from one draw to the next.
    """
    beginnings = [
        place
        for place, tile in enumerate(drawn)
        if place and tile.tiles_left >= drawn[place - 1].tiles_left
    ]
    known = sum(not tile.version for tile in drawn)
    return max([*beginnings, known])
