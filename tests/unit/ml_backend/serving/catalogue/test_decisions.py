"""Decisions are kept until a task is whole; the newest batch of a person can be undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.serving.catalogue.cells import read_task_cells
from ml_backend.serving.catalogue.decisions import (
    KINDS,
    count_begun_tasks,
    decide,
    find_undoable,
    list_decisions,
    list_whole_tasks,
    note_stored,
    undo,
)
from ml_backend.serving.catalogue.store import Catalogue, CellFilter

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def numbers(catalogue: Catalogue, region: Make, task: Make, labels: str, version: str) -> list[int]:
    """Of the cells of two tasks, with three and one cell."""
    shown = [region(key, x, score=0.5) for key, x in zip("abc", (10, 40, 70), strict=True)]
    for number, cells in ((1, shown), (2, shown[:1])):
        row = read_task_cells(task(number, cells), {}, parse_labels(labels), version)
        catalogue.put([row], version)
    return [cell.number for cell in catalogue.find_cells(CellFilter(), "newest")][::-1]


def test_a_task_is_whole_when_all_its_cells_are_decided(
    catalogue: Catalogue, numbers: list[int]
) -> None:
    of_first = [c.number for c in catalogue.find_cells(CellFilter(task=1))]
    decide(catalogue, 7, of_first[:2], "confirm")
    assert list_whole_tasks(catalogue) == [] and count_begun_tasks(catalogue) == 1
    decide(catalogue, 7, of_first[2:], "reject")
    assert list_whole_tasks(catalogue) == [1] and count_begun_tasks(catalogue) == 0
    decide(catalogue, 8, of_first[:1], "confirm")
    assert list_whole_tasks(catalogue) == [], "two people together have not reviewed it"


def test_what_is_not_there_or_reviewed_is_left_alone(
    catalogue: Catalogue, numbers: list[int], region: Make, task: Make, labels: str, version: str
) -> None:
    reviewed = task(3, [region("a", 10)], [region("a", 10)])
    row = read_task_cells(reviewed, {}, parse_labels(labels), version)
    catalogue.put([row], version)
    assert decide(catalogue, 7, [1, row.cells[0].number], "confirm") == []
    assert find_undoable(catalogue, 7) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.tuples(st.sets(st.integers(0, 3), min_size=1), st.sampled_from(KINDS)), max_size=6)
)
def test_undoing_everything_leaves_what_was_there(
    catalogue: Catalogue, numbers: list[int], batches: list[tuple[set[int], Any]]
) -> None:
    seen = [list_decisions(catalogue, numbers)]
    for chosen, kind in batches:
        decide(catalogue, 7, [numbers[i] for i in chosen], kind, "Other" * (kind == "rename"))
        seen.append(list_decisions(catalogue, numbers))
    for expected in seen[-2::-1]:
        found = find_undoable(catalogue, 7)
        assert found is not None
        undo(catalogue, found[0])
        assert list_decisions(catalogue, numbers) == expected
    assert find_undoable(catalogue, 7) is None


def test_what_was_stored_comes_back_as_it_was_before_the_last_stroke(
    catalogue: Catalogue, numbers: list[int], region: Make, task: Make, labels: str, version: str
) -> None:
    cells = catalogue.find_cells(CellFilter(task=1))
    decide(catalogue, 7, [cells[0].number], "reject")
    decide(catalogue, 7, [cell.number for cell in cells[1:]], "confirm")
    note_stored(catalogue, 1, 55)
    shown = [region(key, x, score=0.5) for key, x in zip("abc", (10, 40, 70), strict=True)]
    reviewed = read_task_cells(task(1, shown, shown[1:]), {}, parse_labels(labels), version)
    catalogue.put([reviewed], version)
    assert list_decisions(catalogue, numbers) == {}
    found = find_undoable(catalogue, 7)
    assert found is not None and found[1] == [(55, 1)]
    catalogue.put([read_task_cells(task(1, shown), {}, parse_labels(labels), version)], version)
    undo(catalogue, found[0])
    left = list_decisions(catalogue, numbers)
    assert {number: made.kind for number, made in left.items()} == {cells[0].number: "reject"}
