"""Edits of an annotation after a second look: a region added, renamed, moved or removed."""

from __future__ import annotations

import copy
from typing import Any, Literal

import numpy as np

from ml_backend.evaluation.label_quality.label_issues import Corners, LabelIssue
from ml_backend.imaging.boxes import Boxes, compute_iou, compute_overlap_of_smaller
from ml_backend.label_studio.labeling_config import LabelingConfig, list_items

# as the model sees it; neither the label nor the model is right: nothing is there.
Answer = Literal["suggested", "neither"]

# A region is found again by its place: annotations are clipped and rounded on the way.
_SAME_PLACE = 0.9


class NotFound(LookupError):
    """The annotation does not hold (any more) what the finding is about."""


def edit_result(
    result: list[dict[str, Any]],
    issue: LabelIssue,
    answer: Answer,
    labels: LabelingConfig,
    size: tuple[int, int],
) -> list[dict[str, Any]]:
    """Edit an annotation as a person answered.

    Args:
        result: Of the annotation, as Label Studio writes it; it stays as it is.
        issue: What was doubted.
        answer: What the person decided.
        labels: Those of the project.
        size: Width and height of the image, px.

    Returns:
        The new `result`.

    Raises:
        NotFound: The region is not there, or the config has no such label.
    """
    edited = copy.deepcopy(list_items(result))
    if issue.kind.startswith("too ") and answer == "suggested":
        return edited  # nothing is suggested but that it stays
    if issue.kind == "halves":
        return _join(edited, issue, answer, labels, size)
    if issue.box is None and issue.suggested_box is None:
        if answer == "neither":
            raise NotFound("neither of the two choices: choose another one in the task itself")
        return _choose(edited, issue.suggested, labels)
    if issue.kind == "overlooked":
        if answer == "neither":
            return edited
        assert issue.suggested_box is not None
        return [*edited, *_draw(issue.suggested_box, issue.suggested, labels, size)]
    assert issue.box is not None
    region = _find_region(edited, issue.box, issue.label, labels, size)
    if answer == "neither" or issue.kind == "nothing there":
        return [item for item in edited if item.get("id") != region]
    renamed = issue.kind in ("swapped", "like another")
    name = issue.suggested if renamed else issue.label
    corners = issue.box if renamed else issue.suggested_box
    assert corners is not None
    drawn = {item["type"]: item for item in _draw(corners, name, labels, size)}
    for item in edited:
        if item.get("id") == region and item.get("type") in drawn:
            item["value"] = {**item["value"], **drawn[item["type"]]["value"]}
    return edited


def _join(
    result: list[dict[str, Any]],
    issue: LabelIssue,
    answer: Answer,
    labels: LabelingConfig,
    size: tuple[int, int],
) -> list[dict[str, Any]]:
    """Replace the two halves by a box around both."""
    whole = issue.suggested_box
    if answer == "neither" or whole is None:
        raise NotFound("neither one cell nor two: correct it in the task itself")
    halves = {
        region.id
        for region in labels.read_regions(result, *size)[0]
        if issue.label in region.labels
        and compute_overlap_of_smaller(np.array([region.xyxy]), np.array([whole]))[0, 0] >= 0.99
    }
    if len(halves) != 2:
        raise NotFound(f"the annotation has no two {issue.label} there any more")
    kept = [item for item in result if item.get("id") not in halves]
    return [*kept, *_draw(whole, issue.label, labels, size)]


def _find_region(
    result: list[dict[str, Any]],
    box: Corners,
    label: str,
    labels: LabelingConfig,
    size: tuple[int, int],
) -> str:
    """The id of the region with that label at that place."""
    regions = [r for r in labels.read_regions(result, *size)[0] if label in r.labels]
    if regions:
        places = np.array([region.xyxy for region in regions])
        overlap = compute_iou(np.array([box]), places)[0]
        if overlap.max() >= _SAME_PLACE:
            return regions[int(overlap.argmax())].id
    raise NotFound(f"the annotation has no {label} there any more")


def _draw(
    corners: Corners, name: str, labels: LabelingConfig, size: tuple[int, int]
) -> list[dict[str, Any]]:
    matching = labels.match_classes([name])
    boxes = Boxes.from_rows([(*corners, name)])
    width, height = size
    drawn = labels.write_regions(
        boxes, width=width, height=height, matching=matching, version="second look"
    )
    if not drawn:
        raise NotFound(f"the project has no label for {name}")
    for item in drawn:  # a person said so: it has no score
        item.pop("score", None)
    return drawn


def _choose(
    result: list[dict[str, Any]], name: str, labels: LabelingConfig
) -> list[dict[str, Any]]:
    matching = labels.match_choices([name])
    if name not in matching.mapping:
        raise NotFound(f"the project has no choice {name}")
    (made,) = labels.write_choices({name: 1.0}, matching=matching, version="second look")
    made.pop("score", None)
    kept = [item for item in result if item.get("from_name") != made["from_name"]]
    return [*kept, made]
