"""Tasks whose annotators disagree: who is asked next, and what is compared."""

from __future__ import annotations

from typing import Any

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.disputes import Dispute, find_disputes, list_ratings
from ml_backend.imaging.boxes import Boxes
from ml_backend.label_studio.labeling_config import LabelingConfig

LABELS = LabelingConfig.parse(
    '<View><Image name="image" value="$image"/><RectangleLabels name="box" toName="image">'
    '<Label value="A"/><Label value="B"/></RectangleLabels>'
    '<Choices name="kind" toName="image"><Choice value="X"/><Choice value="Y"/></Choices></View>'
)


def answer(choice: str | None = None, *boxes: tuple[float, str]) -> list[dict[str, Any]]:
    """A choice, and boxes of 20 px at an x."""
    drawn = Boxes.from_rows((x, 10, x + 20, 30, label) for x, label in boxes)
    matching = LABELS.match_classes(LABELS.values)
    result = LABELS.write_regions(drawn, width=100, height=50, matching=matching, version="v")
    if choice:
        item = {"id": "c", "type": "choices", "from_name": "kind", "to_name": "image"}
        result.append({**item, "value": {"choices": [choice]}})
    return result


def task(number: int, *results: list[dict[str, Any]], truth: int | None = None) -> dict[str, Any]:
    return {
        "id": number,
        "data": {"image": "a.png"},
        "annotations": [
            {
                "id": who,
                "completed_by": who,
                "updated_at": f"2026-01-{20 - who}",
                "result": result,
                "ground_truth": who == truth,
            }
            for who, result in enumerate(results)
        ],
    }


def find(*tasks: dict[str, Any]) -> list[Dispute]:
    return find_disputes(collect_submissions(tasks), LABELS)


def test_ties_come_before_what_a_majority_decided_and_both_before_the_queue() -> None:
    x, y, both = answer("X"), answer("Y"), answer(None)
    found = find(
        task(1, x, x),
        task(2, x, y, x),
        task(3, x, y),
        task(4, x),
        task(5, x, both),
        task(6, x, y, truth=1),
    )
    assert [(dispute.task, dispute.is_tie) for dispute in found] == [(3, True), (2, False)]
    assert all(0 <= dispute.score <= 0.001 for dispute in found)
    assert found[0].reason == "it was called X (1), Y (1)"


def test_boxes_are_disputed_until_two_annotators_agree_on_half_of_them() -> None:
    a, b = answer(None, (10, "A"), (60, "A")), answer(None, (35, "A"))
    (dispute,) = find(task(1, a, b))
    assert dispute.is_tie and "half of their boxes (2, 1 of them)" in dispute.reason
    assert find(task(1, a, b, answer(None, (11, "A"), (60, "A")))) == []
    assert find(task(1, answer(None), answer(None))) == []


def test_ratings_are_of_the_image_and_of_objects_that_two_marked() -> None:
    first = answer("X", (10, "A"), (60, "B"))
    second = answer("Y", (11, "B"))
    (made,) = collect_submissions([task(1, first, second)])
    assert list_ratings(made, LABELS) == [{"0": "X", "1": "Y"}, {"0": "A", "1": "B"}]
