"""Tasks go in, the same cells come out, in the order and of the kind that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ml_backend.dataset.corrections import find_shown_regions, measure_usefulness
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.serving.catalogue.cells import read_task_cells
from ml_backend.serving.catalogue.likeness import describe_look
from ml_backend.serving.catalogue.store import ORDERS, Catalogue, CellFilter, Counts

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def filled(catalogue: Catalogue, region: Make, task: Make, labels: str, version: str) -> Catalogue:
    shown = [region("a", 10, score=0.9), region("b", 40, score=0.3)]
    tasks = [
        task(1, shown),
        task(2, shown, [region("a", 10), region("b", 40, "Other")]),
        task(3, shown, [region("a", 10)], split="holdout"),
        task(4, []),
    ]
    rows = [
        read_task_cells(made, find_shown_regions(made), parse_labels(labels), version)
        for made in tasks
    ]
    catalogue.put(rows, version)
    return catalogue


def test_tasks_and_cells_are_counted(filled: Catalogue) -> None:
    assert filled.count() == Counts(4, 2, 2, 0, 6, 2)
    assert filled.count_changes() == {
        ("Mitotic cell", "Mitotic cell"): 2,
        ("Mitotic cell", "Other"): 1,
        ("Mitotic cell", ""): 1,
    }
    assert [split for *_, split in filled.list_submitted()] == ["", "holdout"]


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        (CellFilter(), 6),
        (CellFilter(state="detected"), 2),
        (CellFilter(state="reviewed"), 4),
        (CellFilter(state="deleted"), 1),
        (CellFilter(label=""), 1),
        (CellFilter(shown="Mitotic cell", label="Other"), 1),
        (CellFilter(task=3), 2),
        (CellFilter(least=0.5), 3),
        (CellFilter(most=0.5, state="detected"), 1),
        (CellFilter(sample="Ta"), 0),
        (CellFilter(sample="'; drop table cell; --"), 0),
    ],
)
def test_a_filter_counts_what_it_finds(filled: Catalogue, wanted: CellFilter, number: int) -> None:
    assert filled.count_cells(wanted) == len(filled.find_cells(wanted)) == number


def test_orders_and_pages_hold_every_cell_once(filled: Catalogue) -> None:
    for order in ORDERS:
        paged = [
            cell.number
            for offset in range(0, 6, 2)
            for cell in filled.find_cells(CellFilter(), order, 2, offset)
        ]
        assert len(set(paged)) == 6, order
    rising = [cell.confidence for cell in filled.find_cells(CellFilter(), "unsure")]
    assert rising == sorted(rising, key=float)  # type: ignore[arg-type]


def test_corrections_come_back_as_they_were(
    filled: Catalogue, region: Make, task: Make, labels: str, version: str
) -> None:
    corrections, from_nothing = filled.list_corrections()
    (usefulness,) = measure_usefulness(corrections)
    assert (usefulness.tasks, usefulness.accepted, from_nothing) == (2, 0, 0)
    assert usefulness.classes["Mitotic cell"]["deleted"] == 1
    assert usefulness.edits_per_image == 1 and usefulness.seconds_per_image == 12


def test_what_is_put_again_is_replaced_and_what_is_gone_is_forgotten(
    filled: Catalogue, task: Make, labels: str, version: str
) -> None:
    before = filled.revision
    empty = task(2, [])
    filled.put([read_task_cells(empty, {}, parse_labels(labels), version)], version)
    filled.remove([3])
    assert filled.count() == Counts(3, 0, 3, 0, 2, 2) and filled.revision != before
    assert filled.list_corrections() == ([], 0)


def test_likeness_puts_the_same_picture_first(filled: Catalogue) -> None:
    random = np.random.default_rng(0)
    cells = filled.find_cells(CellFilter())
    pictures = random.integers(0, 255, (len(cells), 64, 64, 3), np.uint8)
    pictures[3] = np.rot90(pictures[0])
    with filled.write() as database:
        database.executemany(
            "insert into look values (?, ?)",
            [(c.number, describe_look(p)) for c, p in zip(cells, pictures, strict=True)],
        )
    alike, compared = filled.find_alike(cells[0].number, CellFilter(), 10)
    assert compared == 6 and {cell.number for cell in alike[:2]} == {
        cells[0].number,
        cells[3].number,
    }
    assert filled.find_alike(1, CellFilter(), 10) == ([], 0)
