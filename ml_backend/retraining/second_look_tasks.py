"""The second look in Label Studio: a project of questions, one a finding, answered by one key each.

A question shows the cell with its surroundings. The answer of the model is chosen beforehand, so
*Submit* (Ctrl+Enter) says 'as the model sees it' and *Skip* (Ctrl+Space) 'right as it is marked'.
What was answered is then written into the annotations that the questions are about.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ml_backend.imaging.decode import decode
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.promotion.second_look import Finding
from ml_backend.retraining.label_edits import Answer, NotFound, edit_result

SUGGESTED, MARKED, NEITHER = "As the model sees it", "Right as it is marked", "Neither of them"
_CONFIG = f"""<View>
  <Header value="$question" size="4"/>
  <Image name="image" value="$image" zoom="true" brightnessControl="true"/>
  <Choices name="answer" toName="image" choice="single" showInline="true">
    <Choice value="{SUGGESTED}" hotkey="1"/>
    <Choice value="{MARKED}" hotkey="2"/>
    <Choice value="{NEITHER}" hotkey="3"/>
  </Choices>
  <Header value="Ctrl+Enter submits the choice; Ctrl+Space skips: right as it is marked" size="5"/>
</View>"""
_DESCRIPTION = (
    "Labels that a model which never saw them doubts, the likeliest errors first. Orange: as it is "
    "marked. Blue: as the model sees it. cytoloop second-look --apply writes the answers back."
)
# Of Okabe and Ito (2008): told apart by colour-blind people too. RGB.
_ORANGE, _BLUE = (230, 159, 0), (86, 180, 233)
# What is shown around a box, as a multiple of its longer side; and the side of the picture, px.
_AROUND, _SIDE = 4.0, 480
# The version string of the answers that are chosen beforehand.
VERSION = "second-look"


@dataclass
class Taken:
    """What became of the answers.

    Attributes:
        changed: Annotations that were edited.
        confirmed: The keys of findings that are right as they are marked.
        left_out: Task and reason, of answers that could not be written.
    """

    changed: int = 0
    confirmed: list[str] = field(default_factory=list)
    left_out: list[tuple[int, str]] = field(default_factory=list)


def open_project(studio: Studio, title: str) -> int:
    """Create the project of questions; return its id."""
    return studio.create_project(f"{title[:40]}: second look", _CONFIG, _DESCRIPTION).id


def send_questions(
    studio: Studio,
    project: int,
    findings: Sequence[Finding],
    images: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[int, list[tuple[int, str]]]:
    """Send findings as questions; those that were sent before are not sent again.

    Args:
        studio: Where the project is.
        project: Of the questions.
        findings: The likeliest errors first.
        images: The folder of the fetched images.
        progress: Called with how many are prepared, and of how many.

    Returns:
        How many were sent, and (task, reason) of those whose image cannot be read.
    """
    known = {task["data"].get("finding") for task in studio.list_tasks(project, full=False)}
    new = [finding for finding in findings if finding.key not in known]
    tasks, chosen, left_out = [], [], []
    for number, finding in enumerate(new):
        try:
            picture = draw_finding(finding, decode(images / finding.image))
        except (OSError, ValueError) as error:
            left_out.append((finding.task, f"its image cannot be read: {error}"))
            continue
        finally:
            progress(number + 1, len(new))
        data = {
            "image": picture,
            "question": f"Task {finding.task}: {finding.issue.reason}",
            "task": finding.task,
            "finding": finding.key,
        }
        tasks.append({"data": data})
        # What only stands out is right as it is marked, unless somebody says otherwise.
        stands_out = finding.issue.kind.startswith("too ")
        chosen.append((finding.issue.score, MARKED if stands_out else SUGGESTED))
    if tasks:
        ids = studio.import_tasks(project, tasks, chunk=50)
        made = [
            (task, VERSION, score, _choose(name))
            for task, (score, name) in zip(ids, chosen, strict=True)
        ]
        studio.import_predictions(project, _CONFIG, made)
        studio.set_model_version(project, VERSION)
    return len(tasks), left_out


def _choose(name: str) -> list[dict[str, Any]]:
    value = {"choices": [name]}
    source = {"from_name": "answer", "to_name": "image"}
    return [{"id": "answer", "type": "choices", **source, "value": value}]


def draw_finding(finding: Finding, pixels: np.ndarray) -> str:
    """Draw the place of a finding with its surroundings, as an address that holds the picture.

    Args:
        finding: The given box is orange, the model's blue.
        pixels: (H, W, 3) uint8 RGB, the whole image.

    Returns:
        A JPEG as a data: address, so that no storage has to serve it.
    """
    height, width = pixels.shape[:2]
    boxes = [
        (colour, box)
        for colour, box in (
            (_ORANGE, finding.issue.box),
            (_BLUE, finding.issue.suggested_box),
        )
        if box is not None
    ]
    left, top, right, bottom = 0.0, 0.0, float(width), float(height)
    if boxes:
        corners = np.array([box for _, box in boxes])
        low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
        centre = (low + high) / 2
        half = max(float((high - low).max()) * _AROUND / 2, 32.0)
        left, top = (float(v) for v in np.maximum(centre - half, 0))
        right, bottom = min(centre[0] + half, width), min(centre[1] + half, height)
    x, y = int(left), int(top)
    part = pixels[y : max(int(bottom), y + 1), x : max(int(right), x + 1)]
    scale = _SIDE / max(part.shape[:2])
    shown = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    for colour, (x1, y1, x2, y2) in boxes:
        start = (round((x1 - x) * scale), round((y1 - y) * scale))
        end = (round((x2 - x) * scale), round((y2 - y) * scale))
        cv2.rectangle(shown, start, end, colour, 2)
    _, encoded = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def take_answers(
    studio: Studio,
    project: int,
    findings: Mapping[str, Finding],
    labels: LabelingConfig,
) -> Taken:
    """Write what was answered into the annotations that the questions are about.

    Args:
        studio: Where both projects are.
        project: Of the questions.
        findings: Those that hold now, by key: of annotations that were changed since, nothing is
            taken.
        labels: Those of the project that the findings are about.
    """
    taken = Taken()
    for question in studio.list_annotated_or_skipped_tasks(project):
        finding = findings.get(str(question["data"].get("finding")))
        answer = _read_answer(question)
        if finding is None or answer is None:
            continue
        if answer == MARKED:
            taken.confirmed.append(finding.key)
            continue
        decided: Answer = "suggested" if answer == SUGGESTED else "neither"
        try:
            studio.edit_annotation(
                finding.annotation,
                lambda result, finding=finding, decided=decided: edit_result(  # type: ignore[misc]
                    result, finding.issue, decided, labels, finding.size
                ),
            )
        except (NotFound, LookupError) as error:
            taken.left_out.append((finding.task, str(error)))
            continue
        if finding.issue.kind == "overlooked" and decided == "neither":
            taken.confirmed.append(finding.key)
        else:
            taken.changed += 1
    return taken


def _read_answer(question: Mapping[str, Any]) -> str | None:
    """The newest answer; a skipped question means that the label is right."""
    made = sorted(question.get("annotations") or [], key=lambda annotation: annotation["id"])
    if not made:
        return None
    if made[-1].get("was_cancelled"):
        return MARKED
    chosen = [
        name
        for item in made[-1].get("result") or []
        for name in (item.get("value") or {}).get("choices", [])
    ]
    return chosen[0] if chosen else None
