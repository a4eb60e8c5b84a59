"""Likely label errors: damage made by hand is found and named, and the odds are those of Bayes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from ml_backend.evaluation.label_quality.label_issues import (
    LabelIssue,
    ModelHabits,
    find_box_issues,
    find_choice_issue,
    learn_habits,
)
from ml_backend.imaging.boxes import Boxes

Row = tuple[float, float, float, str, float]
TRUE: list[Row] = [(10, 10, 20, "a", 0.9), (50, 10, 20, "b", 0.8), (10, 60, 20, "a", 0.7)]
HABITS = ModelHabits(0.5, 1.2, {"a": (0.85, 0.05), "b": (0.8, 0.1)}, {"a": 0.05, "b": 0.1})


def draw(rows: list[Row]) -> Boxes:
    return Boxes(
        np.array([[x, y, x + side, y + side] for x, y, side, *_ in rows], np.float32),
        np.array([row[3] for row in rows], np.str_),
        np.array([row[4] for row in rows], np.float32),
    )


@pytest.mark.parametrize(
    ("marked", "kind", "words"),
    [
        (TRUE[:2], "overlooked", "missed here? nothing is marked, the model sees a (0.70)"),
        ([*TRUE[:2], (10, 60, 20, "b", 1)], "swapped", "marked b, the model sees a (0.70)"),
        ([*TRUE[:2], (20, 66, 20, "a", 1)], "badly placed", "places the box differently"),
        ([*TRUE, (80, 80, 15, "a", 1)], "nothing there", "marked a, the model sees nothing there"),
    ],
)
def test_each_damage_is_found_and_named(marked: list[Row], kind: str, words: str) -> None:
    issues = find_box_issues(draw(marked), draw(TRUE), 0.5, HABITS)
    worst = min(issues, key=lambda issue: issue.score)
    assert worst.kind == kind and words in worst.reason
    assert len(issues) == 1 and 0 <= worst.score < 0.95
    assert LabelIssue.from_json(worst.to_json()) == worst


def test_the_odds_are_those_of_bayes() -> None:
    seen = draw([(10, 10, 20, "a", 0.9), (10, 10, 20, "b", 0.3)])
    (swapped,) = find_box_issues(draw([(10, 10, 20, "b", 1)]), seen, 0.5, HABITS)
    assert swapped.score == pytest.approx(1 / (1 + 0.05 * 0.9 / 0.3), rel=1e-5)
    (missing,) = find_box_issues(Boxes(), seen, 0.5, HABITS)
    odds = np.exp(0.5) * (0.9 / 0.1) ** 1.2  # that a box of 0.9 lies on an object
    assert missing.score == pytest.approx(1 / (1 + 0.1 * odds), rel=1e-4)
    (alone,) = find_box_issues(draw([(60, 60, 20, "b", 1)]), Boxes(), 0.5, HABITS)
    assert alone.score == pytest.approx(1 / (1 + 0.05 / 0.1))
    # Moved by a quarter of its side: 15 of 25 columns are shared, IoU 0.6.
    (moved,) = find_box_issues(draw([(15, 10, 20, "a", 1)]), seen, 0.5, HABITS)
    tail = 2 * student.sf((0.85 - 0.6) / 0.05, 3)
    assert moved.score == pytest.approx(1 / (1 + 0.05 * 0.9 / tail), rel=1e-4)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=6))
def test_labels_that_the_model_confirms_are_no_issues(names: list[str]) -> None:
    boxes = draw([(100.0 * n, 0, 20, name, 0.9) for n, name in enumerate(names)])
    habits = learn_habits([(boxes, boxes)], 0.5)
    assert find_box_issues(boxes, boxes, 0.5, habits) == []


@given(st.floats(0.51, 0.99), st.floats(0.51, 0.99))
def test_the_surer_the_model_the_likelier_the_error(p: float, q: float) -> None:
    low, high = sorted((p, q))
    for marked in ([], [(10, 10, 20, "b", 1.0)], [(19, 10, 20, "a", 1.0)]):
        scores = [
            [
                i.score
                for i in find_box_issues(draw(marked), draw([(10, 10, 20, "a", c)]), 0.5, HABITS)
            ]
            for c in (low, high)
        ]
        assert (scores[1] or [1]) <= (scores[0] or [1])


def test_habits_are_learned_from_what_lies_on_labels() -> None:
    rng = np.random.default_rng(0)
    images = []
    for _ in range(40):
        labels = draw([(10, 10, 20, "a", 1), (60, 60, 20, "a", 1)])
        # Half of the uncertain boxes lie on nothing; of the sure ones all lie on a label.
        seen: list[Row] = [(11, 10, 20, "a", 0.95)]
        seen.append((60, 60, 20, "a", 0.3) if rng.random() < 0.5 else (10, 60, 20, "a", 0.3))
        images.append((labels, draw(seen)))
    habits = learn_habits(images, 0.2)
    assert habits.judge_confidence(0.3) == pytest.approx(0.5, abs=0.15)
    assert habits.judge_confidence(0.95) > 0.9
    assert habits.missed["a"] == pytest.approx(0.25, abs=0.06)
    assert habits.overlap["a"][0] > 0.85
    assert learn_habits([], 0.5).judge_confidence(0.5) == pytest.approx(0.5)


def test_what_lies_in_an_ignored_region_is_not_missing() -> None:
    boxes = draw(TRUE[:1])
    assert len(find_box_issues(Boxes(), boxes, 0.5, HABITS)) == 1
    region = np.array([[5, 5, 40, 40]], np.float32)
    assert find_box_issues(Boxes(), boxes, 0.5, HABITS, region) == []


def test_a_choice_is_doubted_where_the_model_says_another() -> None:
    assert find_choice_issue(("x",), {"x": 0.6, "y": 0.4}) is None
    assert find_choice_issue(("x", "y"), {"x": 0.3, "y": 0.6}) is None
    issue = find_choice_issue(("x",), {"x": 0.1, "y": 0.9})
    assert issue is not None and issue.score == pytest.approx(0.1)
    assert issue.reason == "called x, the model says y (0.90)"
