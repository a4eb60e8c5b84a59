"""What boxes say of an image, and two answers compared, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.evaluation.classification import choose_classes
from ml_backend.evaluation.derived_choices import (
    NoDerivation,
    compare_choices,
    derive_choices,
)
from ml_backend.imaging.boxes import Boxes

CLASSES = ("Chromosomes", "Others")


def boxes(*rows: tuple[str, float]) -> Boxes:
    found = Boxes.from_rows((0, 0, 9, 9, name) for name, _ in rows)
    return Boxes(found.xyxy, found.label, np.array([c for _, c in rows], np.float32))


@given(
    st.lists(st.tuples(st.sampled_from(["Mitotic cell", "Other"]), st.floats(0, 1)), max_size=5),
    st.floats(0.05, 0.95),
)
def test_an_image_is_positive_where_a_headline_box_reaches_the_threshold(
    rows: list[tuple[str, float]], threshold: float
) -> None:
    best = max((np.float32(c) for name, c in rows if name == "Mitotic cell"), default=0.0)
    answer = derive_choices(boxes(*rows), CLASSES, threshold)
    assert sum(answer.values()) == pytest.approx(1) and min(answer.values()) >= 0
    (chosen,) = choose_classes(answer, 0.5)
    assert (chosen == "Chromosomes") == (best >= threshold)


def test_of_several_classes_the_most_confident_box_decides() -> None:
    found = boxes(("Metaphase", 0.6), ("Anaphase", 0.9), ("Interphase", 1.0))
    answer = derive_choices(found, ("Metaphase", "Anaphase", "Nothing"), 0.25)
    assert max(answer, key=answer.__getitem__) == "Anaphase" and answer["Nothing"] < 0.1


@pytest.mark.parametrize("classes", [("A", "B"), ("Other",), ("Other", "Interphase", "A")])
def test_boxes_do_not_tell_other_classes_apart(classes: tuple[str, ...]) -> None:
    with pytest.raises(NoDerivation, match="just one of them must be clutter"):
        derive_choices(boxes(), classes, 0.25)


def test_the_difference_is_that_of_the_two_answers() -> None:
    yes, no = {"Chromosomes": 0.9, "Others": 0.1}, {"Chromosomes": 0.2, "Others": 0.8}
    truth = ["Chromosomes"] * 6 + ["Others"] * 4
    first = [yes] * 6 + [no] * 3 + [yes]
    second = [yes] * 4 + [no] * 2 + [no] * 4
    groups = [str(number) for number in range(10)]
    gap = compare_choices(truth, first, second, groups)
    assert gap.accuracy.value == pytest.approx(9 / 10 - 8 / 10)
    assert gap.balanced_accuracy.value == pytest.approx((1 + 3 / 4) / 2 - (4 / 6 + 1) / 2)
    low, high = gap.accuracy.interval or (1, -1)
    assert low < 0.1 < high
    same = compare_choices(truth, first, first, groups)
    assert same.balanced_accuracy.value == 0 and same.balanced_accuracy.interval == (0, 0)
    few = compare_choices(truth, first, second, ["s"] * 10)
    assert few.to_json()["accuracy_interval"] is None
