"""Several annotators of one image: laws, and an optimal pairing as the oracle."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from ml_backend.dataset.consensus import (
    compute_f1,
    count_votes,
    list_names_of_objects,
    measure_agreement,
    settle_boxes,
    settle_choices,
    settle_region_choices,
)
from ml_backend.imaging.boxes import Boxes, compute_iou
from ml_backend.label_studio.labeling_config import LabelingConfig

corners = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["a", "b"]))
# On a coarse grid with a little jitter: many boxes are nearly, but not quite, the same.
drawn = st.lists(
    st.tuples(corners, st.floats(-2, 2), st.floats(-2, 2)), max_size=6, unique_by=lambda row: row[0]
)


def boxes(rows: list[tuple[tuple[int, int, str], float, float]]) -> Boxes:
    return Boxes.from_rows(
        (20 * i + dx, 20 * j + dy, 20 * i + 18 + dx, 20 * j + 18 + dy, label)
        for (i, j, label), dx, dy in rows
    )


def cell(x: float, label: str = "a") -> tuple[float, float, float, float, str]:
    return (x, 0, x + 10, 10, label)


@given(drawn, drawn)
def test_f1_is_that_of_the_best_pairing(first: list, other: list) -> None:
    a, b = boxes(first), boxes(other)
    same = (compute_iou(a.xyxy, b.xyxy) >= 0.5) & (a.label[:, None] == b.label[None, :])
    pairs = same[linear_sum_assignment(-same.astype(int))].sum()
    expected = 2 * pairs / (len(a) + len(b)) if len(a) + len(b) else 1.0
    assert compute_f1(a, b) == pytest.approx(expected)
    assert compute_f1(a, b) == compute_f1(b, a) and compute_f1(a, a) == 1


@given(st.lists(drawn, min_size=1, max_size=5))
def test_every_policy_keeps_what_all_agree_on(all_rows: list) -> None:
    everyone = [boxes(rows) for rows in all_rows]
    same = [everyone[0]] * len(everyone)
    for policy in ("newest", "majority", "agreement"):
        assert compute_f1(settle_boxes(same, policy), everyone[0]) == 1
        assert len(settle_boxes(everyone, policy)) <= max(map(len, everyone), default=0) * 2
    assert any(settle_boxes(everyone, "agreement") is annotated for annotated in everyone)
    share = measure_agreement(everyone)
    assert (share is None) == (len(everyone) == 1) and (share is None or 0 <= share <= 1)


@given(st.permutations(range(3)))
def test_the_majority_does_not_depend_on_the_order(order: list[int]) -> None:
    three = [
        Boxes.from_rows([cell(0), cell(40)]),
        Boxes.from_rows([cell(1), cell(80)]),
        Boxes.from_rows([cell(2), cell(41, "b"), cell(81)]),
    ]
    found = settle_boxes([three[i] for i in order], "majority")
    np.testing.assert_allclose(found.xyxy, [[1, 0, 11, 10], [80.5, 0, 90.5, 10]])


def test_two_annotators_are_a_majority_only_together() -> None:
    two = [Boxes.from_rows([cell(0), cell(40)]), Boxes.from_rows([cell(0)])]
    assert len(settle_boxes(two, "majority")) == 1
    assert settle_boxes(two, "agreement") is two[0] is settle_boxes(two, "newest")


def test_many_boxes_are_settled_quickly() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 5000, (300, 2))
    crowd = [
        Boxes.from_rows((x, y, x + 30, y + 30, "a") for x, y in places + rng.normal(0, 1, (300, 2)))
        for _ in range(3)
    ]
    assert len(settle_boxes(crowd, "majority")) == pytest.approx(300, abs=5)


def test_nobody_drew_anything() -> None:
    none = [Boxes(), Boxes()]
    assert measure_agreement(none) == 1 and len(settle_boxes(none, "majority")) == 0


@given(st.lists(drawn, min_size=1, max_size=4))
def test_an_object_has_one_name_by_each_annotator_who_marked_it(all_rows: list) -> None:
    everyone = [boxes(rows) for rows in all_rows]
    objects = list_names_of_objects(everyone)
    assert all(len(names) > 1 for names in objects)
    for number, annotated in enumerate(everyone):
        named = sorted(names[number] for names in objects if number in names)
        rest = sorted(annotated.label.tolist())
        assert len(named) <= len(rest) and all(named.count(n) <= rest.count(n) for n in named)
    twice = list_names_of_objects([everyone[0], everyone[0]])
    assert sorted(names[0] for names in twice) == sorted(everyone[0].label.tolist())
    assert all(names[0] == names[1] for names in twice)


def test_the_majority_of_choices_counts_and_a_tie_is_the_newest() -> None:
    chosen = [("x",), ("y",), None, ("y",)]
    assert settle_choices(chosen, "newest") == ("x",)
    assert settle_choices(chosen, "majority") == ("y",)
    assert settle_choices(chosen[:2], "majority") == ("x",)
    assert count_votes(chosen) == {"x": pytest.approx(1 / 3), "y": pytest.approx(2 / 3)}
    assert count_votes([("x", "y"), ("x",)]) == {"x": 1.0, "y": 0.5}


def test_the_newest_who_marked_a_box_chooses_for_it() -> None:
    """The new annotator chose for the first box only; for the second the older one did.

    Nobody chose anything for the third.
    """
    labels = LabelingConfig.parse(
        (files("ml_backend.label_studio.configs") / "mitosis-stages.xml").read_text("utf-8")
    )
    marked = Boxes.from_rows(
        [(0, 0, 20, 20, "Mitotic cell"), (50, 0, 70, 20, "Mitotic cell"), (2, 80, 22, 99, "Other")]
    )

    def write(chosen: list[dict[str, float]]) -> list[dict[str, Any]]:
        return labels.write_regions(
            marked,
            width=100,
            height=100,
            matching=labels.match_classes(("Mitotic cell", "Other")),
            version="v",
            chosen=chosen,
            choice_matching=labels.match_region_choices(("Anaphase", "Telophase")),
        )

    newest = write([{"Anaphase": 1}, {}, {}])
    older = write([{"Telophase": 1}, {"Telophase": 1}, {}])
    found = settle_region_choices([newest, older], labels, marked, (100, 100))
    assert found == [("Anaphase",), ("Telophase",), ()]
