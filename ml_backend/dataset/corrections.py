"""What annotators changed: what was shown to them against what they submitted. Pure.

This, and not a figure on a hold-out, says how much work a version saves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np

from ml_backend.imaging.boxes import Boxes, choose_pairs, compute_iou
from ml_backend.label_studio.labeling_config import LabelingConfig

Change = Literal["kept", "moved", "relabelled", "added", "deleted"]
CHANGES: tuple[Change, ...] = ("kept", "moved", "relabelled", "added", "deleted")

# A side that moved by less than this many pixels did not move: the editor rounds.
STILL = 0.5
# A region that lost its id on the way is known again by an overlap from here on.
SAME = 0.5
# The editor gives this origin to a region that the annotator drew; it is nothing's successor.
_BY_HAND = "manual"


@dataclass(frozen=True)
class Shown:
    """A pre-annotation that an annotation started from: Label Studio's result."""

    version: str
    result: list[dict[str, Any]]


@dataclass(frozen=True)
class Edit:
    """What became of one region. label: the shown one's; of an added region, its own.

    A region that was both moved and relabelled is relabelled. iou: of the region as shown
    and as submitted, 0..1; None where it was added or deleted.
    """

    change: Change
    label: str
    iou: float | None = None


@dataclass(frozen=True)
class Correction:
    """One submitted annotation that started from a pre-annotation.

    seconds: that the task was open for it; None where the server does not know.
    """

    task: int
    annotation: int
    version: str
    seconds: float | None
    edits: tuple[Edit, ...]

    @property
    def changed(self) -> int:
        """How many regions were moved, relabelled, added or deleted."""
        return sum(edit.change != "kept" for edit in self.edits)


class Deleted(NamedTuple):
    """A region that was shown and removed: its box in px (to 0.01), its label and its id."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    region: str


@dataclass(frozen=True)
class _Region:
    id: str
    origin: str
    boxes: Boxes
    label: str


def started_from(task: dict[str, Any]) -> dict[int, Shown]:
    """The pre-annotation that each of a task's annotations points to, by annotation id.

    task: Label Studio's, with annotations and pre-annotations. A blind task's only says
    where the task comes in the queue: nothing was shown.
    """
    if (task.get("data") or {}).get("blind"):
        return {}
    shown = {
        one["id"]: Shown(str(one.get("model_version") or ""), one.get("result") or [])
        for one in task.get("predictions") or []
    }
    return {
        annotation["id"]: shown[annotation["parent_prediction"]]
        for annotation in task.get("annotations") or []
        if annotation.get("parent_prediction") in shown
    }


def correct(
    task: dict[str, Any], shown: dict[int, Shown], labels: LabelingConfig
) -> tuple[list[Correction], int]:
    """The corrections in a task's submitted annotations, and how many started from nothing.

    shown: by annotation id. Skipped annotations are no corrections.
    """
    corrections, from_nothing = [], 0
    for annotation in task.get("annotations") or []:
        if annotation.get("was_cancelled"):
            continue
        before = shown.get(annotation["id"])
        if before is None:
            from_nothing += 1
            continue
        edits = compare(before.result, annotation.get("result") or [], labels)
        seconds = annotation.get("lead_time")
        corrections.append(
            Correction(task["id"], annotation["id"], before.version, seconds, tuple(edits))
        )
    return corrections, from_nothing


def correct_all(
    tasks: Iterable[dict[str, Any]], shown: dict[int, Shown], labels: LabelingConfig
) -> tuple[list[Correction], int]:
    """As `correct`, of many tasks."""
    corrections: list[Correction] = []
    from_nothing = 0
    for task in tasks:
        made, unaided = correct(task, shown, labels)
        corrections += made
        from_nothing += unaided
    return corrections, from_nothing


def compare(
    shown: Sequence[dict[str, Any]], submitted: Sequence[dict[str, Any]], labels: LabelingConfig
) -> list[Edit]:
    """What became of every region shown, and what was added, from two `result`s.

    Regions are known again by their id, and where that was lost by their place (IoU from
    0.5 on, the same label first), unless the annotator drew them. Regions that are no
    boxes of the project's labels are left out on both sides.
    """
    pairs, gone, new = _matched(shown, submitted, labels, _size([*shown, *submitted]))
    edits = [_edit(*pair) for pair in pairs]
    edits += [Edit("deleted", one.label) for one in gone]
    edits += [Edit("added", one.label) for one in new]
    edits += _compare_choices(labels.read_choices(shown), labels.read_choices(submitted))
    return sorted(edits, key=lambda edit: (CHANGES.index(edit.change), edit.label, edit.iou or 0))


def _compare_choices(
    shown: tuple[str, ...] | None, submitted: tuple[str, ...] | None
) -> list[Edit]:
    """What became of the choice for the whole image, as of one region that has no place."""
    if shown and submitted:
        same = sorted(shown) == sorted(submitted)
        return [Edit("kept" if same else "relabelled", " + ".join(sorted(shown)))]
    changes: tuple[tuple[Change, tuple[str, ...] | None], ...] = (
        ("deleted", shown),
        ("added", submitted),
    )
    return [Edit(change, " + ".join(sorted(names))) for change, names in changes if names]


def deleted(
    shown: Sequence[dict[str, Any]],
    submitted: Sequence[dict[str, Any]],
    labels: LabelingConfig,
    size: tuple[int, int],
) -> list[Deleted]:
    """The regions shown that the annotator removed, as `compare` counts them.

    size: width and height of the image, px.
    """
    _, gone, _ = _matched(shown, submitted, labels, size)
    found = []
    for one in gone:
        x1, y1, x2, y2 = (round(side, 2) for side in one.boxes.xyxy[0].tolist())
        found.append(Deleted(x1, y1, x2, y2, one.label, one.id))
    return found


def _matched(
    shown: Sequence[dict[str, Any]],
    submitted: Sequence[dict[str, Any]],
    labels: LabelingConfig,
    size: tuple[int, int],
) -> tuple[list[tuple[_Region, _Region]], list[_Region], list[_Region]]:
    """Regions as shown and as submitted, those only shown, and those only submitted."""
    before, after = _regions(shown, labels, size), _regions(submitted, labels, size)
    ids = before.keys() & after.keys()
    pairs = [(before[key], after[key]) for key in ids]
    gone = [one for key, one in before.items() if key not in ids]
    new = [one for key, one in after.items() if key not in ids]
    again = _by_place(gone, new)
    pairs += [(gone[i], new[j]) for i, j in again]
    lost, met = {i for i, _ in again}, {j for _, j in again}
    return (
        pairs,
        [one for i, one in enumerate(gone) if i not in lost],
        [one for j, one in enumerate(new) if j not in met],
    )


def _edit(shown: _Region, submitted: _Region) -> Edit:
    before, after = shown.boxes.xyxy[:1], submitted.boxes.xyxy[:1]
    overlap = float(compute_iou(before, after)[0, 0])
    if shown.label != submitted.label:
        return Edit("relabelled", shown.label, overlap)
    moved = np.abs(before - after).max() > STILL
    return Edit("moved" if moved else "kept", shown.label, overlap)


def _by_place(gone: Sequence[_Region], new: Sequence[_Region]) -> list[tuple[int, int]]:
    """Pairs (gone, new) of regions at the same place, each in one pair at most."""
    if not gone or not new:
        return []
    overlap = compute_iou(
        *(np.concatenate([one.boxes.xyxy[:1] for one in side]) for side in (gone, new))
    )
    near = [
        (gone[i].label != new[j].label, -overlap[i, j], gone[i].id, new[j].id, i, j)
        for i, j in np.argwhere(overlap >= SAME).tolist()
        if new[j].origin != _BY_HAND
    ]
    return choose_pairs((i, j) for *_, i, j in sorted(near))


def _regions(
    result: Sequence[dict[str, Any]], labels: LabelingConfig, size: tuple[int, int]
) -> dict[str, _Region]:
    parts: dict[str, list[dict[str, Any]]] = {}
    for number, item in enumerate(result):
        parts.setdefault(str(item.get("id") or f"number {number + 1}"), []).append(item)
    found = {}
    for key, items in parts.items():
        boxes, _ = labels.read_boxes(items, *size)
        if len(boxes):
            # A region may carry several labels: together they are what it is called.
            label = " + ".join(sorted(map(str, boxes.label)))
            found[key] = _Region(key, str(items[0].get("origin") or ""), boxes, label)
    return found


def _size(items: Iterable[dict[str, Any]]) -> tuple[int, int]:
    """The image's width and height in pixels, as its regions tell."""
    for item in items:
        width, height = item.get("original_width"), item.get("original_height")
        if width and height:
            return int(width), int(height)
    return 1000, 1000  # unknown: half a pixel is then 0.05 % of a side


@dataclass(frozen=True)
class Usefulness:
    """What the corrections of one version say about it.

    tasks: submitted. accepted: annotations submitted as they were drawn. The next two are
    an annotation's: edits_per_image: regions moved, relabelled, added or deleted;
    seconds_per_image: the median, None where no time is known. moved_iou: the median
    overlap of moved regions before and after, 0..1. classes: by label, how many regions
    were kept, moved, relabelled (under the shown label), added, deleted.
    """

    version: str
    tasks: int
    accepted: int
    edits_per_image: float
    seconds_per_image: float | None
    moved_iou: float | None
    classes: dict[str, dict[Change, int]]


def usefulness(corrections: Iterable[Correction]) -> list[Usefulness]:
    """By version, in the order in which their first annotation was made."""
    by_version: dict[str, list[Correction]] = {}
    for one in sorted(corrections, key=lambda one: one.annotation):
        by_version.setdefault(one.version, []).append(one)
    return [_of_version(version, ones) for version, ones in by_version.items()]


def _of_version(version: str, corrections: Sequence[Correction]) -> Usefulness:
    changed = [one.changed for one in corrections]
    edits = [edit for one in corrections for edit in one.edits]
    seconds = [one.seconds for one in corrections if one.seconds is not None]
    overlaps = [e.iou for e in edits if e.change == "moved" and e.iou is not None]
    by_label = Counter((edit.label, edit.change) for edit in edits)
    return Usefulness(
        version=version,
        tasks=len({one.task for one in corrections}),
        accepted=changed.count(0),
        edits_per_image=sum(changed) / len(corrections),
        seconds_per_image=median(seconds) if seconds else None,
        moved_iou=median(overlaps) if overlaps else None,
        classes={
            label: {change: by_label[label, change] for change in CHANGES}
            for label in sorted({edit.label for edit in edits})
        },
    )
