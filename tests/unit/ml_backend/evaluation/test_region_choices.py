"""Choices of boxes are judged where the boxes are found; other code counts the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.evaluation.region_choices import (
    ChosenBoxes,
    count_chosen,
    evaluate_chosen,
    pair_boxes,
)
from ml_backend.imaging.boxes import Boxes

CLASSES = ("A", "B")


def place(number: int, label: str = "Cell") -> tuple[float, float, float, float, str]:
    """Boxes that do not touch, by number."""
    return 30.0 * number, 0.0, 30.0 * number + 20, 20.0, label


def predict(boxes: list[tuple[int, float, str | None]]) -> ChosenBoxes:
    """Boxes by number, with confidence and the class that is chosen of each."""
    rows = Boxes.from_rows(place(number) for number, _, _ in boxes)
    confidence = np.array([c for _, c, _ in boxes], np.float32)
    choices = [{} if name is None else {name: 0.9} for _, _, name in boxes]
    return ChosenBoxes(Boxes(rows.xyxy, rows.label, confidence), choices)


def mark(names: list[str | None], group: str = "g") -> Example:
    boxes = Boxes.from_rows(place(number) for number in range(len(names)))
    choices = tuple((name,) if name else () for name in names)
    return Example(Path("a"), group, boxes, region_choices=choices)


named = st.sampled_from([None, *CLASSES])


@given(
    st.lists(named, max_size=6),
    st.lists(st.tuples(st.integers(0, 8), st.floats(0, 1, width=32), named), max_size=8),
)
def test_counts_are_those_of_a_plain_loop(
    truth: list[str | None], found: list[tuple[int, float, str | None]]
) -> None:
    """At most one box at each place, so that which finds what is plain."""
    found = list({number: (number, c, name) for number, c, name in found}.values())
    counts = count_chosen([mark(truth)], [predict(found)], threshold=0.5, headline=("Cell",))
    confident = {number: name for number, c, name in found if c >= 0.5}
    right = sum(name is not None and confident.get(i) == name for i, name in enumerate(truth))
    wrong = sum(
        name is not None
        and (number >= len(truth) or (truth[number] is not None and truth[number] != name))
        for number, name in confident.items()
    )
    assert counts.right.tolist() == [[right]]
    assert counts.wrong.tolist() == [[wrong]]
    assert counts.missed.tolist() == [[sum(name is not None for name in truth) - right]]


def test_only_boxes_that_were_found_are_asked_what_was_chosen() -> None:
    """Found and right, found and wrong, missed, found but never named; one in vain."""
    truth = mark(["A", "B", "A", None])
    found = predict([(0, 0.9, "A"), (1, 0.8, "A"), (3, 0.9, "B"), (7, 0.9, "A")])
    figures, with_choice = evaluate_chosen(
        [truth], [found], threshold=0.5, headline=("Cell",), classes=CLASSES
    )
    assert (figures.items, figures.images) == (2, 1)
    assert figures.accuracy.value == 0.5
    assert figures.confusion == {"A": {"A": 1, "B": 0}, "B": {"A": 1, "B": 0}}
    assert with_choice.value == pytest.approx(2 * 1 / (3 + 3))  # right 1 of 3 marked, 3 called


def test_without_any_box_nothing_is_judged() -> None:
    figures, with_choice = evaluate_chosen(
        [Example(Path("a"), "g")],
        [ChosenBoxes(Boxes(), ())],
        threshold=0.5,
        headline=("Cell",),
        classes=CLASSES,
    )
    assert figures.items == 0 and figures.accuracy.value is None and with_choice.value is None


def test_boxes_pair_by_class_and_the_most_confident_first() -> None:
    truth = Boxes.from_rows([place(0), place(1, "Other")])
    rows = Boxes.from_rows([place(0), place(0, "cell"), place(1)])
    predicted = Boxes(rows.xyxy, rows.label, np.array([0.3, 0.7, 0.9], np.float32))
    assert pair_boxes(predicted, truth) == [(1, 0)]
