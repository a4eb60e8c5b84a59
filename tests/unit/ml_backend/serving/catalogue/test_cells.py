"""One task → its cells, with what became of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml_backend.dataset.corrections import find_shown_regions
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.serving.catalogue.cells import TaskCells, read_task_cells

Make = Callable[..., dict[str, Any]]


def read(task: dict[str, Any], labels: str, version: str) -> TaskCells:
    return read_task_cells(task, find_shown_regions(task), parse_labels(labels), version)


def test_what_nobody_looked_at_is_as_doubtful_as_the_version(
    region: Make, task: Make, labels: str, version: str
) -> None:
    found = read(
        task(1, [region("a", 10, score=0.5), region("b", 50, score=0.95)]), labels, version
    )
    assert found.state == "detected" and found.drawn and found.sample == "Os"
    assert [cell.confidence for cell in found.cells] == [0.5, 0.95]
    assert [cell.disagreement for cell in found.cells] == pytest.approx([1.0, 0.1])
    assert found.cells[0].box == pytest.approx((20, 10, 30, 20))


def test_each_change_of_a_person_is_one_cell(
    region: Make, task: Make, labels: str, version: str
) -> None:
    shown = [region(key, x, score=0.9) for key, x in zip("abcd", (5, 25, 45, 65), strict=True)]
    submitted = [
        region("a", 5),
        region("b", 26),
        region("c", 45, "Other"),
        region("new", 85, origin="manual"),
    ]
    found = read(task(1, shown, submitted), labels, version)
    changes = {cell.state: (cell.shown, cell.label) for cell in found.cells}
    assert changes == {
        "kept": ("Mitotic cell", "Mitotic cell"),
        "moved": ("Mitotic cell", "Mitotic cell"),
        "relabelled": ("Mitotic cell", "Other"),
        "deleted": ("Mitotic cell", ""),
        "added": ("", "Mitotic cell"),
    }
    by_state = {cell.state: cell.disagreement for cell in found.cells}
    assert by_state["added"] == 1 and by_state["deleted"] == 0.9
    assert by_state["kept"] == pytest.approx(0.1) and 0 < by_state["moved"] < 1
    assert [made.changed for made in found.corrections] == [4]


def test_a_cell_keeps_its_number_and_no_two_share_one(
    region: Make, task: Make, labels: str, version: str
) -> None:
    shown = [region(str(i), i * 9, score=0.9) for i in range(10)]
    first = read(task(1, shown), labels, version)
    again = read(task(1, shown[::-1]), labels, version)
    other = read(task(2, shown), labels, version)
    numbers = {cell.number for cell in first.cells}
    assert numbers == {cell.number for cell in again.cells} and len(numbers) == 10
    assert not numbers & {cell.number for cell in other.cells}
    assert all(0 <= number < 2**53 for number in numbers)


def test_a_blind_task_shows_no_cells_before_it_is_marked(
    region: Make, task: Make, labels: str, version: str
) -> None:
    blind = task(1, [region("a", 10, score=0.9)], blind=True)
    assert read(blind, labels, version).cells == ()
    marked = task(1, [], [region("a", 10, origin="manual")], blind=True)
    assert [cell.state for cell in read(marked, labels, version).cells] == ["added"]


def test_what_another_version_drew_is_not_shown(
    region: Make, task: Make, labels: str, version: str
) -> None:
    found = read(task(1, [region("a", 10)]), labels, "another")
    assert found.state == "waiting" and found.cells == () and not found.drawn


@pytest.mark.parametrize("data", [None, "text", [], {"image": None}])
def test_a_task_without_usable_data_has_no_cells(data: Any, labels: str, version: str) -> None:
    task = {"id": 1, "data": data, "annotations": [], "predictions": []}
    assert read(task, labels, version).image == ""


def test_a_box_is_called_by_what_is_chosen_of_it(
    region: Make, task: Make, labels: str, version: str
) -> None:
    choices = (
        '<Choices name="stage" toName="image" perRegion="true"><Choice value="Metaphase"/>'
        '<Choice value="Anaphase"/></Choices></View>'
    )

    def draw(key: str, x: float, choice: str = "") -> list[dict[str, Any]]:
        box = region(key, x, score=0.9)
        chosen = {**box, "type": "choices", "from_name": "stage", "value": {"choices": [choice]}}
        return [box, *([chosen] if choice else [])]

    shown = draw("a", 10, "Metaphase") + draw("b", 40, "Metaphase") + draw("c", 70)
    submitted = draw("a", 10, "Metaphase") + draw("b", 40, "Anaphase") + draw("c", 70)
    found = read(task(1, shown, submitted), labels.replace("</View>", choices), version)
    assert [(cell.shown, cell.label, cell.state) for cell in found.cells] == [
        ("Metaphase", "Metaphase", "kept"),
        ("Metaphase", "Anaphase", "relabelled"),
        ("Mitotic cell", "Mitotic cell", "kept"),
    ]
