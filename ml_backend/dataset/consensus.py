"""What was submitted for a task: how far its annotators agree, and which annotation counts.

Two boxes show the same object where they have the same label and an IoU of at least 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

import numpy as np

from ml_backend.dataset.split import REPEAT_OF
from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou
from ml_backend.label_studio.labeling_config import LabelingConfig

Policy = Literal["newest", "majority", "agreement"]

# The IoU from which two boxes of the same label show the same object.
SAME_IOU = 0.5


@dataclass(frozen=True)
class Submission:
    """What was submitted for a task: the newest annotation of each annotator.

    Attributes:
        task: Label Studio's id of the task.
        data: The task's data.
        annotation: The id of the newest annotation, or of the ground truth where one is marked.
        updated: When that annotation was last changed, as Label Studio writes it.
        results: The `result` of each annotation, that one first, then from new to old.
        annotations: Their ids, in the same order.
        settled: That annotation is a ground truth, and counts alone.
        annotators: Who made each, as Label Studio numbers its users, in the same order.
    """

    task: int
    data: dict[str, Any]
    annotation: int
    updated: str
    results: tuple[list[dict[str, Any]], ...] = ()
    annotations: tuple[int, ...] = ()
    settled: bool = False
    annotators: tuple[str, ...] = ()


def collect_submissions(
    tasks: Iterable[dict[str, Any]], *, repeats: bool = False
) -> list[Submission]:
    """Collect what was submitted for every corrected task, in the order of task ids.

    Args:
        tasks: Label Studio's, with annotations. Cancelled (skipped) annotations do not count.
            Of several by one annotator a ground truth counts, else the newest.
        repeats: Collect the tasks that were shown a second time instead, see `repeats`: the image
            of each is another task's, which counts.
    """
    submissions = []
    for task in tasks:
        data = task.get("data")
        if (isinstance(data, dict) and REPEAT_OF in data) != repeats:
            continue
        newest: dict[str, dict[str, Any]] = {}
        for annotation in task.get("annotations") or []:
            if not annotation.get("was_cancelled"):
                who = annotation.get("completed_by")
                who = str(who.get("id") if isinstance(who, dict) else who)
                newest[who] = max(newest.get(who, annotation), annotation, key=_rank)
        if newest:
            names = sorted(newest, key=lambda who: _rank(newest[who]), reverse=True)
            ranked = [newest[who] for who in names]
            submissions.append(
                Submission(
                    task=task["id"],
                    data=task["data"],
                    annotation=ranked[0]["id"],
                    updated=str(ranked[0].get("updated_at")),
                    results=tuple(annotation.get("result") or [] for annotation in ranked),
                    annotations=tuple(annotation["id"] for annotation in ranked),
                    settled=bool(ranked[0].get("ground_truth")),
                    annotators=tuple(names),
                )
            )
    return sorted(submissions, key=lambda submission: submission.task)


def _rank(annotation: dict[str, Any]) -> tuple[bool, str, int]:
    when = str(annotation.get("updated_at"))
    return bool(annotation.get("ground_truth")), when, annotation["id"]


def count_deciding(submission: Submission, policy: Policy) -> int:
    """Count the annotations that decide: all of them, or only the first."""
    return 1 if submission.settled or policy == "newest" else len(submission.results)


def settle_boxes(annotated: Sequence[Boxes], policy: Policy) -> Boxes:
    """Settle which boxes count, where several annotators marked an image.

    Args:
        annotated: The boxes of each annotator, the newest annotation first; at least one.
        policy: With "newest" the first counts. With "majority" every object counts that more
            than half of the annotators marked, each side at the median of theirs. With
            "agreement" the annotation counts that agrees best with the others, the newest of
            equally good ones; of two annotators that is the newest.
    """
    if policy == "newest" or len(annotated) == 1:
        return annotated[0]
    if policy == "majority":
        return _settle_by_majority(annotated)
    sums = [sum(compute_f1(boxes, other) for other in annotated) for boxes in annotated]
    return annotated[sums.index(max(sums))]


def settle_choices(
    chosen: Sequence[tuple[str, ...] | None], policy: Policy
) -> tuple[str, ...] | None:
    """Settle what an image is called, from the choices of each annotator, the newest first.

    Args:
        chosen: What each chose; None for an annotator who chose nothing.
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


def count_votes(chosen: Sequence[tuple[str, ...] | None]) -> dict[str, float]:
    """Count the share of annotators who chose each class, 0..1, of those who chose any."""
    made = [set(names) for names in chosen if names]
    votes = Counter(name for names in made for name in names)
    return {name: votes[name] / len(made) for name in sorted(votes)}


def settle_region_choices(
    results: Sequence[list[dict[str, Any]]],
    labels: LabelingConfig,
    boxes: Boxes,
    size: tuple[int, int],
) -> list[tuple[str, ...]]:
    """Settle the choices for each settled box: the newest annotator who marked it decides.

    Args:
        results: The `result` of each annotation that decides, the newest first.
        labels: Those of the project.
        boxes: The N settled boxes.
        size: Width and height of the image, in pixels.

    Returns:
        The choices of each box, N tuples; () where nobody chose.
    """
    found: list[tuple[str, ...]] = [()] * len(boxes)
    if not labels.region_choices:
        return found
    for result in results:
        regions, _ = labels.read_regions(result, *size)
        if not regions:
            continue
        overlap = compute_iou(boxes.xyxy, np.array([region.xyxy for region in regions]))
        for box, nearest in enumerate(overlap.argmax(axis=1).tolist()):
            if not found[box] and overlap[box, nearest] >= SAME_IOU:
                found[box] = regions[nearest].choices
    return found


def measure_agreement(annotated: Sequence[Boxes]) -> float | None:
    """Measure the mean F1 over all pairs of annotators, 0..1; None where there is only one."""
    pairs = [compute_f1(a, b) for a, b in combinations(annotated, 2)]
    return fmean(pairs) if pairs else None


def compute_f1(a: Boxes, b: Boxes) -> float:
    """Compute F1 of two annotations: 2 · pairs / all boxes, 0..1; 1 where both are empty."""
    total = len(a) + len(b)
    return 2 * len(_pair_boxes(a, b)) / total if total else 1.0


def _pair_boxes(a: Boxes, b: Boxes) -> list[tuple[int, int]]:
    """Pair the boxes of a and b that show the same object; those that overlap most come first."""
    overlap = compute_iou(a.xyxy, b.xyxy) * (a.label[:, None] == b.label[None, :])
    near = sorted((-overlap[i, j], i, j) for i, j in np.argwhere(overlap >= SAME_IOU).tolist())
    return choose_pairs((i, j) for _, i, j in near)


def _settle_by_majority(annotated: Sequence[Boxes]) -> Boxes:
    """Take the objects that more than half marked, each side at the median of theirs."""
    xyxy = np.concatenate([boxes.xyxy for boxes in annotated])
    label = np.concatenate([boxes.label for boxes in annotated])
    kept: list[tuple[float, float, float, float, str]] = []
    for members in _gather_objects(annotated, same_label=True):
        if 2 * len(members) <= len(annotated):
            break
        x1, y1, x2, y2 = np.median(xyxy[members], axis=0).tolist()
        kept.append((x1, y1, x2, y2, str(label[members[0]])))
    return Boxes.from_rows(sorted(kept))


def list_names_of_objects(annotated: Sequence[Boxes]) -> list[dict[int, str]]:
    """List what annotators called each object that at least two of them marked.

    Boxes at the same place show the same object, whatever their labels.

    Args:
        annotated: The boxes of each annotator.

    Returns:
        For each object, by the number of the annotator: the label.
    """
    label = [name for boxes in annotated for name in boxes.label.tolist()]
    owner = [number for number, boxes in enumerate(annotated) for _ in range(len(boxes))]
    objects = []
    for members in _gather_objects(annotated, same_label=False):
        if len(members) < 2:
            break
        objects.append({owner[member]: str(label[member]) for member in members})
    return objects


def _gather_objects(annotated: Sequence[Boxes], *, same_label: bool) -> Iterator[list[int]]:
    """Gather the boxes of one object: first the box that most annotators have a similar one of.

    That box and the similar ones are one object; the rest follows in the same way.

    Args:
        annotated: The boxes of each annotator.
        same_label: Similar boxes have one label.

    Yields:
        Numbers of boxes, counted through all annotators, at most one of each; those that most
        annotators marked first.
    """
    xyxy = np.concatenate([boxes.xyxy for boxes in annotated])
    label = np.concatenate([boxes.label for boxes in annotated])
    owner = np.repeat(np.arange(len(annotated)), [len(boxes) for boxes in annotated])
    near = compute_iou(xyxy, xyxy) * (owner[:, None] != owner)
    if same_label:
        near *= label[:, None] == label
    near[near < SAME_IOU] = 0
    np.fill_diagonal(near, 1)
    free = np.ones(len(owner), bool)

    def find_best(rows: np.ndarray) -> np.ndarray:
        """By annotator and box: the overlap with the most similar free box."""
        similar = near[rows] * free
        return np.stack(
            [
                (similar * (owner == annotator)).max(axis=1, initial=0)
                for annotator in range(len(annotated))
            ]
        )

    best = find_best(np.arange(len(owner)))
    while free.any():
        box = np.lexsort((-best.sum(axis=0), -(best > 0).sum(axis=0)))[0]
        similar = near[box] * free
        members = [
            int((similar * (owner == annotator)).argmax())
            for annotator in np.flatnonzero(best[:, box])
        ]
        yield members
        free[members] = False
        best[:, members] = 0
        touched = np.flatnonzero(free & near[:, members].any(axis=1))
        best[:, touched] = find_best(touched)
