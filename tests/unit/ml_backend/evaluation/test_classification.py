"""Figures of choices: a confusion matrix by hand, laws, and the limits of calibration."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.bootstrap import FEWEST_GROUPS
from ml_backend.evaluation.classification import choose_classes, count_choices, evaluate_choices

CLASSES = ("prophase", "metaphase", "anaphase")


def sure(name: str, probability: float = 0.9) -> dict[str, float]:
    """Probabilities of a model that is fairly sure of a class."""
    rest = (1 - probability) / (len(CLASSES) - 1)
    return {other: probability if other == name else rest for other in CLASSES}


def test_counts_done_by_hand() -> None:
    truth = [("prophase",), ("prophase",), ("metaphase",), ("metaphase",)]
    called = ["prophase", "metaphase", "metaphase", "metaphase"]
    figures = evaluate_choices(
        truth, [sure(name) for name in called], list("abcd"), classes=CLASSES
    )
    assert figures.accuracy.value == 3 / 4
    assert figures.balanced_accuracy.value == 3 / 4  # recalls 1/2 and 1; no anaphase to find
    prophase, metaphase = figures.classes["prophase"], figures.classes["metaphase"]
    assert (prophase.precision.value, prophase.recall.value) == (1, 1 / 2)
    assert metaphase.precision.value == pytest.approx(2 / 3) and metaphase.recall.value == 1
    assert figures.f1.value == pytest.approx((2 / 3 + 4 / 5) / 2)
    anaphase = figures.classes["anaphase"]
    assert anaphase.f1.value is None and (anaphase.truths, anaphase.predicted) == (0, 0)
    assert figures.confusion["prophase"] == {"prophase": 1, "metaphase": 1, "anaphase": 0}
    assert figures.calibration.error.value == pytest.approx(0.9 - 3 / 4)
    assert json.loads(json.dumps(figures.to_json()))["accuracy"] == 3 / 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(CLASSES), st.sampled_from(CLASSES), st.integers(0, 12)),
        min_size=1,
        max_size=40,
    )
)
def test_laws_of_single_choices(items: list[tuple[str, str, int]]) -> None:
    truth = [(true,) for true, _, _ in items]
    called = [(name,) for _, name, _ in items]
    groups = [f"g{group}" for _, _, group in items]
    figures = evaluate_choices(truth, [sure(name) for (name,) in called], groups, classes=CLASSES)
    # The confusion matrix holds every item; its diagonal is the accuracy.
    table = np.array([list(row.values()) for row in figures.confusion.values()])
    assert table.sum() == len(items)
    assert figures.accuracy.value == pytest.approx(np.trace(table) / len(items))
    counts = count_choices(truth, called, CLASSES)
    right, wrong, missed = (
        part.sum(axis=0) for part in (counts.right, counts.wrong, counts.missed)
    )
    assert right.tolist() == np.diag(table).tolist()
    assert (right + wrong).tolist() == table.sum(axis=0).tolist()
    assert (right + missed).tolist() == table.sum(axis=1).tolist()
    enough = len(set(groups)) >= FEWEST_GROUPS
    assert (figures.accuracy.interval is not None) == enough
    if figures.accuracy.interval:
        low, high = figures.accuracy.interval
        assert 0 <= low <= high <= 1


def test_of_several_classes_an_item_is_right_where_all_are() -> None:
    truth = [("prophase", "anaphase"), ("prophase",)]
    probabilities = [
        {"prophase": 0.8, "metaphase": 0.1, "anaphase": 0.5},
        {"prophase": 0.7, "metaphase": 0.6, "anaphase": 0.0},
    ]
    assert choose_classes(probabilities[0], 0.5, several=True) == ("prophase", "anaphase")
    assert choose_classes(probabilities[0], 0.5) == ("prophase",)
    assert choose_classes({}, 0.5) == ()
    figures = evaluate_choices(truth, probabilities, ["a", "b"], classes=CLASSES, several=True)
    assert figures.accuracy.value == 1 / 2
    assert figures.classes["metaphase"].predicted == 1


def test_class_names_are_compared_by_their_canonical_form() -> None:
    figures = evaluate_choices([("Pro-phase",)], [{"pro phase": 1.0}], ["a"], classes=["pro phase"])
    assert list(figures.classes) == ["pro phase"] and figures.accuracy.value == 1


def test_as_many_predictions_and_groups_as_items() -> None:
    with pytest.raises(ValueError, match="1 items, 0 predictions, 1 groups"):
        evaluate_choices([("prophase",)], [], ["a"], classes=CLASSES)
