"""What annotators changed: the regions shown to them against those that they submitted.

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
from ml_backend.label_studio.class_names import call_by_choice
from ml_backend.label_studio.labeling_config import LabelingConfig, list_items
from ml_backend.system.numbers import parse_number, parse_size

EditKind = Literal["kept", "moved", "relabelled", "added", "deleted"]
EDIT_KINDS: tuple[EditKind, ...] = ("kept", "moved", "relabelled", "added", "deleted")

# A side that moved by at most this many pixels did not move: the editor rounds.
STILL_PIXELS = 0.5
# A region that lost its id is recognized by an overlap with the old place, from this IoU on.
SAME_IOU = 0.5
# The editor gives this origin to a region that the annotator drew; it was not shown before.
_BY_HAND = "manual"


@dataclass(frozen=True)
class ShownRegions:
    """The pre-annotation that an annotation started from.

    Attributes:
        version: That made it.
        result: Its regions, as Label Studio's `result`.
    """

    version: str
    result: list[dict[str, Any]]


@dataclass(frozen=True)
class Edit:
    """What became of one region.

    Attributes:
        change: A region that was both moved and relabelled is `relabelled`; so is one of which
            something else was chosen.
        label: As shown, with what was chosen of it; of an added region, its own.
        iou: Of the region as shown and as submitted, 0..1; None where it was added or deleted.
    """

    change: EditKind
    label: str
    iou: float | None = None


@dataclass(frozen=True)
class Correction:
    """One submitted annotation that started from a pre-annotation.

    Attributes:
        task: The task's id.
        annotation: The annotation's id.
        version: That made the pre-annotation.
        seconds: How long the task was open; None where the server does not know.
        edits: What became of each region.
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


class DeletedRegion(NamedTuple):
    """A region that was shown and removed.

    Attributes:
        x1: Left side in px, to 0.01.
        y1: Upper side.
        x2: Right side.
        y2: Lower side.
        label: As shown.
        region: Its id in the pre-annotation.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    region: str


@dataclass(frozen=True)
class BoxRegion:
    """A region that is a box.

    Attributes:
        id: Label Studio's, unique in its annotation; made up where it has none.
        origin: Where the editor says that it comes from.
        boxes: The box, once for each of its labels, in px.
        label: Its label; several are joined by " + ".
        choices: What was chosen of it.
        score: The model's confidence, 0..1; None where it is not known.
    """

    id: str
    origin: str
    boxes: Boxes
    label: str
    choices: tuple[str, ...] = ()
    score: float | None = None

    @property
    def name(self) -> str:
        """Its label, with what was chosen of it in parentheses."""
        return f"{self.label} ({', '.join(self.choices)})" if self.choices else self.label

    @property
    def called(self) -> str:
        """What was chosen of it, see `call_by_choice`."""
        return call_by_choice(self.label, self.choices)

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in px."""
        x1, y1, x2, y2 = self.boxes.xyxy[0].tolist()
        return x1, y1, x2, y2


@dataclass(frozen=True)
class RegionChange:
    """What became of one region, with its places before and after.

    Attributes:
        edit: The change.
        before: As shown; None where the annotator added it.
        after: As submitted; None where the annotator deleted it.
    """

    edit: Edit
    before: BoxRegion | None
    after: BoxRegion | None


def find_shown_regions(task: dict[str, Any]) -> dict[int, ShownRegions]:
    """Find the pre-annotation that each of a task's annotations started from.

    Args:
        task: Label Studio's, with annotations and pre-annotations. The pre-annotation of a
            blind task only carries its score for the queue: it was not shown.

    Returns:
        By annotation id; annotations that started from nothing are not in it.
    """
    data = task.get("data")
    if isinstance(data, dict) and data.get("blind"):
        return {}
    shown = {
        prediction["id"]: ShownRegions(
            str(prediction.get("model_version") or ""), prediction.get("result") or []
        )
        for prediction in task.get("predictions") or []
    }
    return {
        annotation["id"]: shown[annotation["parent_prediction"]]
        for annotation in task.get("annotations") or []
        if annotation.get("parent_prediction") in shown
    }


def read_corrections(
    task: dict[str, Any], shown: dict[int, ShownRegions], labels: LabelingConfig
) -> tuple[list[Correction], int]:
    """Read the corrections in a task's submitted annotations.

    Args:
        task: Label Studio's, with annotations. Skipped annotations are no corrections.
        shown: What each annotation started from, by annotation id.
        labels: Those of the project.

    Returns:
        The corrections, and how many annotations started from nothing.
    """
    corrections, from_nothing = [], 0
    for annotation in task.get("annotations") or []:
        if annotation.get("was_cancelled"):
            continue
        before = shown.get(annotation["id"])
        if before is None:
            from_nothing += 1
            continue
        edits = compare_regions(before.result, annotation.get("result") or [], labels)
        seconds = parse_number(annotation.get("lead_time"), 0)
        corrections.append(
            Correction(task["id"], annotation["id"], before.version, seconds, tuple(edits))
        )
    return corrections, from_nothing


def read_all_corrections(
    tasks: Iterable[dict[str, Any]], shown: dict[int, ShownRegions], labels: LabelingConfig
) -> tuple[list[Correction], int]:
    """Read the corrections of many tasks, see `read_corrections`."""
    corrections: list[Correction] = []
    from_nothing = 0
    for task in tasks:
        of_task, without = read_corrections(task, shown, labels)
        corrections += of_task
        from_nothing += without
    return corrections, from_nothing


def compare_regions(
    shown: Sequence[dict[str, Any]], submitted: Sequence[dict[str, Any]], labels: LabelingConfig
) -> list[Edit]:
    """Compare two `result`s: what became of every region shown, and what was added.

    Regions are recognized by their id. Where it was lost they are recognized by their place
    (IoU from 0.5 on, the same label first), unless the annotator drew them. Regions that are
    no boxes of the project's labels are left out on both sides.
    """
    size = read_size([*shown, *submitted])
    edits = [change.edit for change in list_changes(shown, submitted, labels, size)]
    edits += _compare_choices(labels.read_choices(shown), labels.read_choices(submitted))
    return sorted(
        edits, key=lambda edit: (EDIT_KINDS.index(edit.change), edit.label, edit.iou or 0)
    )


def list_changes(
    shown: Sequence[dict[str, Any]],
    submitted: Sequence[dict[str, Any]],
    labels: LabelingConfig,
    size: tuple[int, int],
) -> list[RegionChange]:
    """List what became of every region, see `compare_regions`.

    Args:
        shown: The `result` of the pre-annotation.
        submitted: The `result` of the annotation.
        labels: Those of the project.
        size: Width and height of the image, in pixels.
    """
    pairs, gone, new = _match_regions(shown, submitted, labels, size)
    changes = [RegionChange(_make_edit(*pair), *pair) for pair in pairs]
    changes += [RegionChange(Edit("deleted", region.name), region, None) for region in gone]
    return changes + [RegionChange(Edit("added", region.name), None, region) for region in new]


def list_box_regions(
    result: Sequence[dict[str, Any]], labels: LabelingConfig, size: tuple[int, int]
) -> list[BoxRegion]:
    """List the regions of a `result` that are boxes of the project's labels.

    Args:
        result: Of an annotation or a pre-annotation.
        labels: Those of the project.
        size: Width and height of the image, in pixels.
    """
    return list(_read_regions(result, labels, size).values())


def _compare_choices(
    shown: tuple[str, ...] | None, submitted: tuple[str, ...] | None
) -> list[Edit]:
    """Compare the choices for the whole image, as if they were one region without a place."""
    if shown and submitted:
        same = sorted(shown) == sorted(submitted)
        return [Edit("kept" if same else "relabelled", " + ".join(sorted(shown)))]
    changes: tuple[tuple[EditKind, tuple[str, ...] | None], ...] = (
        ("deleted", shown),
        ("added", submitted),
    )
    return [Edit(change, " + ".join(sorted(names))) for change, names in changes if names]


def find_deleted_regions(
    shown: Sequence[dict[str, Any]],
    submitted: Sequence[dict[str, Any]],
    labels: LabelingConfig,
    size: tuple[int, int],
) -> list[DeletedRegion]:
    """Find the shown regions that the annotator removed, see `compare_regions`.

    Args:
        shown: The `result` of the pre-annotation.
        submitted: The `result` of the annotation.
        labels: Those of the project.
        size: Width and height of the image, in pixels.
    """
    _, gone, _ = _match_regions(shown, submitted, labels, size)
    found = []
    for region in gone:
        x1, y1, x2, y2 = (round(side, 2) for side in region.boxes.xyxy[0].tolist())
        found.append(DeletedRegion(x1, y1, x2, y2, region.label, region.id))
    return found


def _match_regions(
    shown: Sequence[dict[str, Any]],
    submitted: Sequence[dict[str, Any]],
    labels: LabelingConfig,
    size: tuple[int, int],
) -> tuple[list[tuple[BoxRegion, BoxRegion]], list[BoxRegion], list[BoxRegion]]:
    """Return pairs of regions (shown, submitted), those only shown, and those only submitted."""
    before, after = _read_regions(shown, labels, size), _read_regions(submitted, labels, size)
    ids = before.keys() & after.keys()
    pairs = [(before[key], after[key]) for key in before if key in ids]
    gone = [region for key, region in before.items() if key not in ids]
    new = [region for key, region in after.items() if key not in ids]
    by_place = _match_by_place(gone, new)
    pairs += [(gone[i], new[j]) for i, j in by_place]
    matched_gone, matched_new = {i for i, _ in by_place}, {j for _, j in by_place}
    return (
        pairs,
        [region for i, region in enumerate(gone) if i not in matched_gone],
        [region for j, region in enumerate(new) if j not in matched_new],
    )


def _make_edit(shown: BoxRegion, submitted: BoxRegion) -> Edit:
    before, after = shown.boxes.xyxy[:1], submitted.boxes.xyxy[:1]
    overlap = float(compute_iou(before, after)[0, 0])
    if shown.name != submitted.name:
        return Edit("relabelled", shown.name, overlap)
    moved = np.abs(before - after).max() > STILL_PIXELS
    return Edit("moved" if moved else "kept", shown.name, overlap)


def _match_by_place(gone: Sequence[BoxRegion], new: Sequence[BoxRegion]) -> list[tuple[int, int]]:
    """Match regions (gone, new) at the same place, each in one pair at most."""
    if not gone or not new:
        return []
    overlap = compute_iou(
        *(np.concatenate([region.boxes.xyxy[:1] for region in side]) for side in (gone, new))
    )
    near = [
        (gone[i].label != new[j].label, -overlap[i, j], gone[i].id, new[j].id, i, j)
        for i, j in np.argwhere(overlap >= SAME_IOU).tolist()
        if new[j].origin != _BY_HAND
    ]
    return choose_pairs((i, j) for *_, i, j in sorted(near))


def _read_regions(
    result: Sequence[dict[str, Any]], labels: LabelingConfig, size: tuple[int, int]
) -> dict[str, BoxRegion]:
    parts: dict[str, list[dict[str, Any]]] = {}
    for number, item in enumerate(list_items(result)):
        parts.setdefault(str(item.get("id") or f"number {number + 1}"), []).append(item)
    found = {}
    for key, items in parts.items():
        boxes, _ = labels.read_boxes(items, *size)
        if len(boxes):
            # A region may carry several labels: together they are its label.
            label = " + ".join(sorted(map(str, boxes.label)))
            chosen = labels.read_regions(items, *size)[0][0].choices
            origin = str(items[0].get("origin") or "")
            score = parse_number(items[0].get("score"), 0, 1)
            found[key] = BoxRegion(key, origin, boxes, label, tuple(sorted(chosen)), score)
    return found


def read_size(items: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """Read the image's width and height in pixels from its regions."""
    for item in list_items(items):
        if size := parse_size(item.get("original_width"), item.get("original_height")):
            return size
    return 1000, 1000  # unknown: half a pixel is then 0.05 % of a side


@dataclass(frozen=True)
class Usefulness:
    """How much work a version saved, by the corrections of its pre-annotations.

    Attributes:
        version: The version.
        tasks: Submitted tasks.
        accepted: Annotations that were submitted without a change.
        edits_per_image: Mean number of regions that were moved, relabelled, added or deleted
            in an annotation.
        seconds_per_image: Median time of an annotation; None where no time is known.
        moved_iou: Median overlap of moved regions before and after, 0..1; None where none was
            moved.
        classes: By label, how many regions were kept, moved, relabelled (under the label
            shown), added, deleted.
    """

    version: str
    tasks: int
    accepted: int
    edits_per_image: float
    seconds_per_image: float | None
    moved_iou: float | None
    classes: dict[str, dict[EditKind, int]]


def measure_usefulness(corrections: Iterable[Correction]) -> list[Usefulness]:
    """Measure the usefulness of each version, in the order of their first annotations."""
    by_version: dict[str, list[Correction]] = {}
    for correction in sorted(corrections, key=lambda correction: correction.annotation):
        by_version.setdefault(correction.version, []).append(correction)
    return [_measure_version(version, made) for version, made in by_version.items()]


def _measure_version(version: str, corrections: Sequence[Correction]) -> Usefulness:
    changed = [correction.changed for correction in corrections]
    edits = [edit for correction in corrections for edit in correction.edits]
    seconds = [made.seconds for made in corrections if made.seconds is not None]
    overlaps = [edit.iou for edit in edits if edit.change == "moved" and edit.iou is not None]
    by_label = Counter((edit.label, edit.change) for edit in edits)
    return Usefulness(
        version=version,
        tasks=len({correction.task for correction in corrections}),
        accepted=changed.count(0),
        edits_per_image=sum(changed) / len(corrections),
        seconds_per_image=median(seconds) if seconds else None,
        moved_iou=median(overlaps) if overlaps else None,
        classes={
            label: {change: by_label[label, change] for change in EDIT_KINDS}
            for label in sorted({edit.label for edit in edits})
        },
    )
