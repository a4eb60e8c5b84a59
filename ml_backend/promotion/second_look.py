"""The second look: which labels to check again, by the models that judged a version.

Those models never saw the tasks that they answer for, so where they and the label disagree, one of
the two is wrong. What they found is kept with the version, `second_look.json`; a finding holds
as long as nobody changes the annotation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.dataset.snapshot import Item
from ml_backend.evaluation.label_quality.label_issues import (
    Corners,
    LabelIssue,
    find_box_issues,
    find_choice_issue,
    learn_habits,
)
from ml_backend.evaluation.label_quality.odd_cells import (
    Shape,
    find_halves,
    find_odd_cells,
    measure_cell,
)
from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode
from ml_backend.label_studio.class_names import canonicalize
from ml_backend.learners.base import Prediction
from ml_backend.registry.versions import Registry
from ml_backend.system.atomic_files import read_json, write_json

FILE_NAME = "second_look.json"


@dataclass(frozen=True)
class Finding:
    """A label of a task that may be wrong.

    Attributes:
        task: Label Studio's id of the task; of a labelled folder the number of the image.
        annotation: The id of the annotation; 0 for a folder.
        updated: When it was last changed, as Label Studio writes it.
        image: The file, relative to the project's images or to the folder.
        size: Width and height of the image, px.
        issue: What may be wrong.
    """

    task: int
    annotation: int
    updated: str
    image: str
    size: tuple[int, int]
    issue: LabelIssue

    @property
    def key(self) -> str:
        """Names the finding: the same annotation and doubt have the same."""
        issue = self.issue
        content = [self.task, self.updated, issue.kind, issue.box, issue.suggested]
        if issue.box is None and issue.suggested_box is not None:
            content.append([round(side) for side in issue.suggested_box])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Give plain values; `from_json` reads them back."""
        return {**self.__dict__, "size": list(self.size), "issue": self.issue.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Finding:
        """Read what `to_json` wrote."""
        width, height = value["size"]
        issue = LabelIssue.from_json(value["issue"])
        return cls(**{**value, "size": (width, height), "issue": issue})


def find_doubtful(
    answers: Iterable[tuple[Example, Prediction]], threshold: float
) -> list[tuple[int, LabelIssue]]:
    """Find the labels that may be wrong.

    Args:
        answers: Labelled images, each with the prediction of a model that never saw it.
        threshold: The confidence from which a box is shown, 0..1.

    Returns:
        The place among the answers, and the issue; the likeliest error first.
    """
    answers = list(answers)
    boxed = [(example.boxes or Boxes(), prediction.boxes) for example, prediction in answers]
    meant = {canonicalize(name): name for labels, _ in boxed for name in labels.label.tolist()}
    boxed = [(labels, _rename(boxes, meant)) for labels, boxes in boxed]
    habits = learn_habits(boxed, threshold)
    found: list[tuple[int, LabelIssue]] = []
    for place, (example, prediction) in enumerate(answers):
        if example.boxes is not None and not prediction.choices:
            labels, boxes = boxed[place]
            issues = find_box_issues(labels, boxes, threshold, habits, example.ignored)
            found += [(place, issue) for issue in issues]
        if issue := find_choice_issue(example.choices or (), prediction.choices):
            found.append((place, issue))
    found += _find_odd([example for example, _ in answers])
    worst: dict[tuple[Any, ...], tuple[int, LabelIssue]] = {}
    for place, issue in sorted(found, key=lambda pair: (pair[1].score, pair[0])):
        what = issue.box or issue.suggested_box
        worst.setdefault((place, what), (place, issue))
    return list(worst.values())


def _find_odd(examples: Sequence[Example]) -> list[tuple[int, LabelIssue]]:
    """What stands out by size and brightness, and halves that were marked apart.

    A box is a cell; where nothing is boxed, an image with a single choice is one.
    """
    places: list[int] = []
    labels: list[str] = []
    boxes: list[Corners | None] = []
    shapes: list[Shape] = []
    found: list[tuple[int, LabelIssue]] = []
    for place, example in enumerate(examples):
        rows = example.boxes.to_rows() if example.boxes is not None else []
        chosen = example.choices or ()
        if not rows and len(chosen) != 1:
            continue
        try:
            pixels = decode(example.image)
        except ValueError:
            continue  # the model could not read it either, and said so
        if not rows:
            cells: list[tuple[str, Corners | None]] = [(chosen[0], None)]
        else:
            cells = [(label, (x1, y1, x2, y2)) for x1, y1, x2, y2, label, _ in rows]
        measured = [measure_cell(_cut(pixels, box)) for _, box in cells]
        if example.boxes is not None and rows:
            found += [(place, issue) for issue in find_halves(example.boxes, measured)]
        places += [place] * len(cells)
        labels += [label for label, _ in cells]
        boxes += [box for _, box in cells]
        shapes += measured
    features = np.array(shapes, np.float64).reshape(-1, 4)[:, :2]
    odd = find_odd_cells(features, labels, boxes)
    return [*found, *((places[number], issue) for number, issue in odd)]


def _cut(pixels: np.ndarray, box: Corners | None) -> np.ndarray:
    if box is None:
        return pixels
    x1, y1, x2, y2 = (max(0, round(side)) for side in box)
    part = pixels[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
    return part if part.size else pixels[:1, :1]


def _rename(boxes: Boxes, meant: Mapping[str, str]) -> Boxes:
    """Call what a model sees as people call it: it may know a class by another of its names."""
    names = [meant.get(canonicalize(name), name) for name in boxes.label.tolist()]
    return Boxes(boxes.xyxy, np.array(names, np.str_), boxes.confidence)


def list_findings(
    answers: Sequence[tuple[Item, Example, Prediction]], threshold: float
) -> list[Finding]:
    """List what is doubtful in corrected tasks, the likeliest error first.

    Args:
        answers: Each task with its image, and the prediction of a model that never saw it.
        threshold: The confidence from which a box is shown, 0..1.
    """
    doubtful = find_doubtful([(example, made) for _, example, made in answers], threshold)
    findings = []
    for place, issue in doubtful:
        item, _, made = answers[place]
        findings.append(
            Finding(item.task, item.annotation, item.updated, item.image, made.size, issue)
        )
    return findings


def keep_findings(folder: Path, looked_at: Iterable[Item], findings: Iterable[Finding]) -> None:
    """Keep what was found with a version.

    Args:
        folder: Of the version.
        looked_at: All tasks that a model answered for, so that a later version's silence counts.
        findings: What it found.
    """
    write_json(
        folder / FILE_NAME,
        {
            "looked_at": {str(item.task): item.updated for item in looked_at},
            "findings": [finding.to_json() for finding in findings],
        },
    )


def read_findings(registry: Registry, project: str, current: Mapping[int, str]) -> list[Finding]:
    """Read what holds of a project now, the likeliest error first.

    Of each task the newest version counts that looked at it.

    Args:
        registry: The versions.
        project: The project's id.
        current: By task, when the annotation that counts was last changed.
    """
    settled: set[int] = set()
    found: list[Finding] = []
    for version in reversed(registry.list_versions(project)):
        kept = read_json(registry.get_folder(version.name) / FILE_NAME)
        if kept is None:
            continue
        holds = {
            int(task)
            for task, updated in kept["looked_at"].items()
            if int(task) not in settled and current.get(int(task)) == updated
        }
        findings = map(Finding.from_json, kept["findings"])
        found += [finding for finding in findings if finding.task in holds]
        settled |= holds
    return sorted(found, key=lambda finding: (finding.issue.score, finding.task))
