"""What a person answers to a doubt is what the annotation holds afterwards."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from ml_backend.evaluation.label_quality.label_issues import LabelIssue
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.retraining.label_edits import NotFound, edit_result

IMAGE = '<View><Image name="image" value="$image"/>'
LABELS = '<Label value="A"/><Label value="B"/>'
ONE_TAG = f'{IMAGE}<RectangleLabels name="box" toName="image">{LABELS}</RectangleLabels></View>'
TWO_TAGS = (
    f'{IMAGE}<Rectangle name="shape" toName="image"/>'
    f'<Labels name="box" toName="image">{LABELS}</Labels></View>'
)
CHOICES = (
    f'{IMAGE}<Choices name="kind" toName="image"><Choice value="X"/><Choice value="Y"/>'
    "</Choices></View>"
)
SIZE = (200, 100)
FIRST, SECOND, ELSEWHERE = (
    (10.0, 10.0, 30.0, 30.0),
    (60.0, 20.0, 90.0, 50.0),
    (14.0, 6.0, 40.0, 28.0),
)


def draw(labels: LabelingConfig) -> list[dict[str, Any]]:
    boxes = Boxes.from_rows([(*FIRST, "A"), (*SECOND, "B")])
    matching = labels.match_classes(["A", "B"])
    return labels.write_regions(boxes, width=200, height=100, matching=matching, version="v")


@pytest.mark.parametrize("config", [ONE_TAG, TWO_TAGS])
@pytest.mark.parametrize(
    ("issue", "answer", "expected"),
    [
        (
            LabelIssue("overlooked", 0.1, "", "B", 0.9, None, ELSEWHERE),
            "suggested",
            [(*FIRST, "A"), (*ELSEWHERE, "B"), (*SECOND, "B")],
        ),
        (
            LabelIssue("overlooked", 0.1, "", "B", 0.9, None, ELSEWHERE),
            "neither",
            [(*FIRST, "A"), (*SECOND, "B")],
        ),
        (
            LabelIssue("swapped", 0.1, "A", "B", 0.9, FIRST, ELSEWHERE),
            "suggested",
            [(*FIRST, "B"), (*SECOND, "B")],
        ),
        (
            LabelIssue("badly placed", 0.1, "A", "A", 0.9, FIRST, ELSEWHERE),
            "suggested",
            [(*ELSEWHERE, "A"), (*SECOND, "B")],
        ),
        (
            LabelIssue("badly placed", 0.1, "A", "A", 0.9, FIRST, ELSEWHERE),
            "neither",
            [(*SECOND, "B")],
        ),
        (LabelIssue("nothing there", 0.1, "B", "", 0.0, SECOND), "suggested", [(*FIRST, "A")]),
    ],
)
def test_an_answer_changes_one_region_and_no_other(
    config: str,
    issue: LabelIssue,
    answer: Literal["suggested", "neither"],
    expected: list[tuple[float, float, float, float, str]],
) -> None:
    labels = LabelingConfig.parse(config)
    before = draw(labels)
    edited = edit_result(before, issue, answer, labels, SIZE)
    boxes, problems = labels.read_boxes(edited, *SIZE)
    assert problems == [] and before == draw(labels)
    found = sorted((*map(round, row[:4]), row[4]) for row in boxes.to_rows())
    assert found == sorted((*map(round, row[:4]), row[4]) for row in expected)


def test_halves_become_one_box_and_what_stands_out_stays() -> None:
    labels = LabelingConfig.parse(ONE_TAG)
    near = (40.0, 10.0, 58.0, 30.0)
    boxes = Boxes.from_rows([(*FIRST, "A"), (*near, "A"), (*SECOND, "B")])
    matching = labels.match_classes(["A", "B"])
    before = labels.write_regions(boxes, width=200, height=100, matching=matching, version="v")
    whole = (10.0, 10.0, 58.0, 30.0)
    issue = LabelIssue("halves", 0.4, "A", "A", 0.0, FIRST, whole)
    joined, _ = labels.read_boxes(edit_result(before, issue, "suggested", labels, SIZE), *SIZE)
    assert sorted((*map(round, row[:4]), row[4]) for row in joined.to_rows()) == [
        (10, 10, 58, 30, "A"),
        (60, 20, 90, 50, "B"),
    ]
    with pytest.raises(NotFound, match="correct it in the task itself"):
        edit_result(before, issue, "neither", labels, SIZE)
    large = LabelIssue("too large", 0.2, "A", "", 0.0, FIRST)
    assert edit_result(before, large, "suggested", labels, SIZE) == before
    removed, _ = labels.read_boxes(edit_result(before, large, "neither", labels, SIZE), *SIZE)
    assert len(removed) == 2
    like = LabelIssue("like another", 0.2, "A", "B", 0.0, FIRST)
    renamed, _ = labels.read_boxes(edit_result(before, like, "suggested", labels, SIZE), *SIZE)
    assert sorted(renamed.label.tolist()) == ["A", "B", "B"]


def test_a_choice_is_replaced_and_neither_is_left_to_a_person() -> None:
    labels = LabelingConfig.parse(CHOICES)
    matching = labels.match_choices(["X"])
    before = labels.write_choices({"X": 1.0}, matching=matching, version="v")
    issue = LabelIssue("other choice", 0.1, "X", "Y", 0.9)
    assert labels.read_choices(edit_result(before, issue, "suggested", labels, SIZE)) == ("Y",)
    with pytest.raises(NotFound, match="choose another one in the task"):
        edit_result(before, issue, "neither", labels, SIZE)


def test_what_is_not_there_any_more_is_said() -> None:
    labels = LabelingConfig.parse(ONE_TAG)
    issue = LabelIssue("swapped", 0.1, "B", "A", 0.9, FIRST, FIRST)
    with pytest.raises(NotFound, match="no B there any more"):
        edit_result(draw(labels), issue, "suggested", labels, SIZE)
    unknown = LabelIssue("overlooked", 0.1, "", "C", 0.9, None, ELSEWHERE)
    with pytest.raises(NotFound, match="no label for C"):
        edit_result(draw(labels), unknown, "suggested", labels, SIZE)
