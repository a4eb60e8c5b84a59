"""One task → its cells: every detection and every marked cell, with what a person made of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.corrections import (
    BoxRegion,
    Correction,
    Edit,
    EditKind,
    RegionChange,
    ShownRegions,
    list_box_regions,
    list_changes,
    read_corrections,
    read_size,
)
from ml_backend.dataset.split import GROUP_FIELDS
from ml_backend.label_studio.labeling_config import LabelingConfig

# reviewed: a person submitted it. detected: a version drew it. waiting: neither yet.
TaskState = Literal["reviewed", "detected", "waiting"]
# detected: nobody has looked yet. The others say what the person made of it.
CellState = Literal["detected", "kept", "moved", "relabelled", "added", "deleted"]


@dataclass(frozen=True)
class Cell:
    """A cell that a version detected or a person marked.

    Attributes:
        number: Of its own in the project, the same as long as its place is.
        task: The task that shows it.
        region: The id of its region, of the annotation where there is one.
        box: Left, top, right, bottom in px of the task's image.
        label: What it is called now, which is what was chosen of it where something was: as
            submitted, else as shown; "" where a person deleted it.
        shown: What a version showed it as; "" where it showed nothing there.
        state: What became of it.
        confidence: Of the version, 0..1; None where it showed nothing, or gave none.
        disagreement: How far person and version differ, 0..1; where nobody has looked yet, how
            much the version doubts.
    """

    number: int
    task: int
    region: str
    box: tuple[float, float, float, float]
    label: str
    shown: str
    state: CellState
    confidence: float | None
    disagreement: float


@dataclass(frozen=True)
class TaskCells:
    """A task with its cells.

    Attributes:
        task: Its id in Label Studio.
        image: Where its image is, as the task says.
        sample: What it is a picture of, as far as the task says; "" where it does not.
        split: The side that its data names; "" where it names none.
        blind: It is shown without boxes.
        state: How far it is.
        version: What drew the regions that are shown, or that the annotation started from.
        annotation: The annotation that counts; None without one.
        updated: When that was last changed, as Label Studio writes it.
        drawn: It holds a pre-annotation of the version that is shown now.
        cells: In the order of their regions.
        corrections: One for each submitted annotation that started from a pre-annotation.
        from_nothing: Annotations that started from none.
    """

    task: int
    image: str
    sample: str
    split: str
    blind: bool
    state: TaskState
    version: str
    annotation: int | None
    updated: str
    drawn: bool
    cells: tuple[Cell, ...]
    corrections: tuple[Correction, ...]
    from_nothing: int


def read_task_cells(
    task: dict[str, Any], shown: Mapping[int, ShownRegions], labels: LabelingConfig, version: str
) -> TaskCells:
    """Read a task's cells.

    Args:
        task: Label Studio's, with annotations and pre-annotations.
        shown: What annotations started from, by annotation id.
        labels: Those of the project.
        version: Whose pre-annotation is shown where nobody has annotated.
    """
    data = task["data"] if isinstance(task.get("data"), dict) else {}
    blind = data.get("blind") is True
    drawn = [held for held in task.get("predictions") or [] if held.get("model_version") == version]
    submission = next(iter(collect_submissions([{**task, "data": data}])), None)
    cells: list[Cell] = []
    seen = ""
    if submission is not None:
        before = shown.get(submission.annotation)
        seen = before.version if before else ""
        result, first = submission.results[0], before.result if before else []
        size = read_size([*first, *result])
        changes = list_changes(first, result, labels, size)
        cells = [_make_cell(task["id"], change) for change in changes]
    elif drawn:
        seen = version
        if not blind:
            result = drawn[-1].get("result") or []
            regions = list_box_regions(result, labels, read_size(result))
            cells = [_make_detected(task["id"], region) for region in regions]
    corrections, from_nothing = read_corrections(task, dict(shown), labels)
    return TaskCells(
        task=task["id"],
        image=str(data.get(labels.image_key) or ""),
        sample=next((str(data[key]) for key in GROUP_FIELDS if data.get(key)), ""),
        split=str(data.get("split") or ""),
        blind=blind,
        state="reviewed" if submission else "detected" if drawn else "waiting",
        version=seen,
        annotation=submission.annotation if submission else None,
        updated=submission.updated if submission else "",
        drawn=bool(drawn),
        cells=tuple(cells),
        corrections=tuple(corrections),
        from_nothing=from_nothing,
    )


def _make_detected(task: int, region: BoxRegion) -> Cell:
    doubt = 0.5 if region.score is None else 1 - 2 * abs(region.score - 0.5)
    return Cell(
        _number(task, region), task, region.id, region.xyxy, region.called, region.called,
        "detected", region.score, doubt,
    )  # fmt: skip


def _make_cell(task: int, change: RegionChange) -> Cell:
    place = change.after or change.before
    assert place is not None
    shown = change.before
    confidence = shown.score if shown else None
    return Cell(
        _number(task, place),
        task,
        place.id,
        place.xyxy,
        change.after.called if change.after else "",
        shown.called if shown else "",
        change.edit.change,
        confidence,
        _measure_disagreement(change.edit, confidence),
    )


def _measure_disagreement(edit: Edit, confidence: float | None) -> float:
    """How wrong the version was where the person changed something, how doubtful where not."""
    sure = 1.0 if confidence is None else confidence
    if edit.change == "moved":
        return 1 - (edit.iou or 0.0)
    measures: dict[EditKind, float] = {"added": 1.0, "kept": 1 - sure}
    return measures.get(edit.change, sure)


def _number(task: int, region: BoxRegion) -> int:
    """A number of 53 bits, which a browser's scripts read exactly."""
    place = ",".join(f"{side:.1f}" for side in region.xyxy)
    key = f"{task}/{region.id}/{place}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 11
