"""The annotator leaves the truth behind, and counts what a person would have to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.imaging.boxes import Boxes
from ml_backend.simulation.annotator import review

CELL = (10, 10, 50, 50)


def make_example(*rows: tuple[float, float, float, float, str], ignored: object = ()) -> Example:
    regions = np.array(ignored, np.float32).reshape(-1, 4)
    return Example(Path("a.png"), "a", Boxes.from_rows(rows), regions)


def test_counts_each_kind_of_edit() -> None:
    truth = make_example(
        (*CELL, "Mitotic cell"),
        (100, 100, 140, 140, "Mitotic cell"),
        (200, 200, 240, 240, "Mitotic cell"),
        (300, 300, 340, 340, "Other"),
    )
    shown = Boxes.from_rows(
        [
            (*CELL, "mitosis"),  # right, by another name
            (108, 100, 148, 140, "Mitotic cell"),  # IoU 0.667
            (300, 300, 340, 340, "Mitotic cell"),  # another class
            (400, 400, 440, 440, "Mitotic cell"),  # nothing there
            (105, 105, 125, 125, "Mitotic cell"),  # a second one on a cell
        ]
    )
    done = review(truth, shown)
    effort = done.effort
    assert (effort.images, effort.added, effort.deleted) == (1, 1, 2)
    assert (effort.moved, effort.renamed, effort.edits) == (1, 1, 5)
    assert effort.seconds == 3 + 7 + 2 * 2 + 5 + 2
    # What is deleted on a cell teaches nothing.
    assert done.example.deleted.tolist() == [[400, 400, 440, 440]]


def test_looking_costs_where_nothing_is() -> None:
    effort = review(make_example(), Boxes()).effort
    assert effort.edits == 0 and effort.seconds == 3


def test_leaves_what_is_ignored() -> None:
    shown = Boxes.from_rows([(*CELL, "Mitotic cell")])
    done = review(make_example(ignored=[(0, 0, 60, 60)]), shown)
    assert done.effort.edits == 0 and not len(done.example.deleted)


coordinates = st.integers(0, 8).map(lambda value: 10.0 * value)
row = st.tuples(coordinates, coordinates, st.integers(1, 4), st.integers(1, 4)).map(
    lambda r: (r[0], r[1], r[0] + 10.0 * r[2], r[1] + 10.0 * r[3], "Mitotic cell")
)


@given(st.lists(row, max_size=6), st.lists(row, max_size=6))
def test_every_box_is_accounted_for(true: list, shown: list) -> None:
    done = review(make_example(*true), Boxes.from_rows(shown))
    kept = len(shown) - done.effort.deleted
    assert kept + done.effort.added == len(true)
    assert done.effort.moved <= kept and len(done.example.deleted) <= done.effort.deleted


@given(st.lists(row, max_size=6))
def test_the_truth_needs_no_edit(true: list) -> None:
    assert review(make_example(*true), Boxes.from_rows(true)).effort.edits == 0
