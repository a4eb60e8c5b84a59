"""What was submitted for a task: how far its annotators agree, and which boxes count. Pure.

Two boxes are of one object where they have one label and an IoU of at least 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

import numpy as np

from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou
from ml_backend.label_studio.labeling_config import LabelingConfig

Policy = Literal["newest", "majority", "agreement"]

SAME = 0.5


@dataclass(frozen=True)
class Chosen:
    """What was submitted for a task: the newest annotation of each annotator.

    annotation, updated: of the newest of all, or of the ground truth where one is marked.
    results, annotations: all of them, that one first; settled: it alone counts.
    """

    task: int
    data: dict[str, Any]
    annotation: int
    updated: str
    results: tuple[list[dict[str, Any]], ...] = ()
    annotations: tuple[int, ...] = ()
    settled: bool = False


def choose(tasks: Iterable[dict[str, Any]]) -> list[Chosen]:
    """What was submitted for every corrected task, in the order of task ids.

    tasks: Label Studio's, with annotations. Cancelled (skipped) annotations do not
    count; of one annotator a ground truth does, else the newest.
    """
    chosen = []
    for task in tasks:
        newest: dict[Any, dict[str, Any]] = {}
        for one in task.get("annotations") or []:
            if not one.get("was_cancelled"):
                who = one.get("completed_by")
                who = who.get("id") if isinstance(who, dict) else who
                newest[who] = max(newest.get(who, one), one, key=_weight)
        if newest:
            ranked = sorted(newest.values(), key=_weight, reverse=True)
            chosen.append(
                Chosen(
                    task=task["id"],
                    data=task["data"],
                    annotation=ranked[0]["id"],
                    updated=str(ranked[0].get("updated_at")),
                    results=tuple(one.get("result") or [] for one in ranked),
                    annotations=tuple(one["id"] for one in ranked),
                    settled=bool(ranked[0].get("ground_truth")),
                )
            )
    return sorted(chosen, key=lambda one: one.task)


def _weight(annotation: dict[str, Any]) -> tuple[bool, str, int]:
    when = str(annotation.get("updated_at"))
    return bool(annotation.get("ground_truth")), when, annotation["id"]


def counted(one: Chosen, policy: Policy) -> int:
    """How many of its annotations count: all, or the first alone."""
    return 1 if one.settled or policy == "newest" else len(one.results)


def settle(drawn: Sequence[Boxes], policy: Policy) -> Boxes:
    """The boxes that count, of one annotation by each annotator, the newest first.

    newest: the first. majority: every object that more than half of them drew, each side
    at the median of theirs. agreement: the annotation that agrees best with the others, the
    newest of equally good ones; with two annotators that is the newest.
    """
    if policy == "newest" or len(drawn) == 1:
        return drawn[0]
    if policy == "majority":
        return _majority(drawn)
    sums = [sum(f1(one, other) for other in drawn) for one in drawn]
    return drawn[sums.index(max(sums))]


def settle_choices(
    chosen: Sequence[tuple[str, ...] | None], policy: Policy
) -> tuple[str, ...] | None:
    """Settle what an image is called, from the choices of each annotator, the newest first.

    Args:
        chosen: What each chose; None who chose nothing.
        policy: With "newest" the first counts; otherwise every class that more than half of
            those who chose agree on, and where there is none, the newest choice.

    Returns:
        The classes in the order of the newest who chose; None where nobody did.
    """
    made = [names for names in chosen if names]
    if not made or policy == "newest":
        return chosen[0] if chosen and policy == "newest" else None
    votes = Counter(name for names in made for name in names)
    most = tuple(name for name in votes if 2 * votes[name] > len(made))
    return most or made[0]


def choices_of_regions(
    results: Sequence[list[dict[str, Any]]],
    labels: LabelingConfig,
    boxes: Boxes,
    size: tuple[int, int],
) -> list[tuple[str, ...]]:
    """What annotators chose for each of the settled boxes: the newest who drew it decides.

    Args:
        results: Of each annotator who counts, the newest first.
        labels: Of the project.
        boxes: That were settled on, N of them.
        size: Width and height of the image, in pixels.

    Returns:
        The choices of each box, N tuples; () where nobody chose.
    """
    found: list[tuple[str, ...]] = [()] * len(boxes)
    if not any(control.per_region for control in labels.choices):
        return found
    for result in results:
        regions = [one for one in labels.read_regions(result, *size)[0] if one.choices]
        if not regions:
            continue
        overlap = compute_iou(boxes.xyxy, np.array([one.xyxy for one in regions]))
        for box, region in enumerate(overlap.argmax(axis=1).tolist()):
            if not found[box] and overlap[box, region] >= SAME:
                found[box] = regions[region].choices
    return found


def agreement(drawn: Sequence[Boxes]) -> float | None:
    """The mean F1 over all pairs of annotators, 0..1; None where there is only one."""
    pairs = [f1(a, b) for a, b in combinations(drawn, 2)]
    return fmean(pairs) if pairs else None


def f1(a: Boxes, b: Boxes) -> float:
    """How much of two annotations is the same: 2 · pairs / all boxes; 1 where both are empty."""
    both = len(a) + len(b)
    return 2 * len(_pairs(a, b)) / both if both else 1.0


def _pairs(a: Boxes, b: Boxes) -> list[tuple[int, int]]:
    """Boxes of a and b that show one object; those that overlap most find each other first."""
    overlap = compute_iou(a.xyxy, b.xyxy) * (a.label[:, None] == b.label[None, :])
    near = sorted((-overlap[i, j], i, j) for i, j in np.argwhere(overlap >= SAME).tolist())
    return choose_pairs((i, j) for _, i, j in near)


def _majority(drawn: Sequence[Boxes]) -> Boxes:
    """Object by object: the box that most annotators have one like, together with those."""
    xyxy = np.concatenate([boxes.xyxy for boxes in drawn])
    label = np.concatenate([boxes.label for boxes in drawn])
    owner = np.repeat(np.arange(len(drawn)), [len(boxes) for boxes in drawn])
    near = compute_iou(xyxy, xyxy) * (label[:, None] == label) * (owner[:, None] != owner)
    near[near < SAME] = 0
    np.fill_diagonal(near, 1)
    free = np.ones(len(owner), bool)

    def most_like(rows: np.ndarray) -> np.ndarray:
        """By annotator and box: the overlap with the free box that is most like it."""
        like = near[rows] * free
        return np.stack(
            [(like * (owner == one)).max(axis=1, initial=0) for one in range(len(drawn))]
        )

    best = most_like(np.arange(len(owner)))
    kept: list[tuple[float, float, float, float, str]] = []
    while free.any():
        found = (best > 0).sum(axis=0)
        box = np.lexsort((-best.sum(axis=0), -found))[0]
        if 2 * found[box] <= len(drawn):
            break
        like = near[box] * free
        of = [(like * (owner == one)).argmax() for one in np.flatnonzero(best[:, box])]
        x1, y1, x2, y2 = np.median(xyxy[of], axis=0).tolist()
        kept.append((x1, y1, x2, y2, str(label[box])))
        free[of] = False
        best[:, of] = 0
        touched = np.flatnonzero(free & near[:, of].any(axis=1))
        best[:, touched] = most_like(touched)
    return Boxes.from_rows(sorted(kept))
