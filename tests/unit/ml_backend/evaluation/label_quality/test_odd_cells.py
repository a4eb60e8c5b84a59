"""What stands out in a class, and halves that were marked apart."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.evaluation.label_quality.odd_cells import (
    FEWEST,
    bound_evidence,
    find_halves,
    find_odd_cells,
    measure_cell,
)
from ml_backend.imaging.boxes import Boxes


def draw(axes: tuple[int, int], angle: float, bright: int = 200) -> np.ndarray:
    pixels = np.full((80, 80, 3), 10, np.uint8)
    return cv2.ellipse(pixels, (40, 40), axes, angle, 0, 360, (bright,) * 3, -1)


@pytest.mark.parametrize("angle", [0, 30, 90, 150])
def test_a_cell_is_measured_by_its_foreground(angle: float) -> None:
    size, brightness, elongation, turned = measure_cell(draw((30, 10), angle))
    assert size == pytest.approx(np.log(np.pi * 300), abs=0.08)  # in whole pixels
    assert brightness == pytest.approx(np.log1p(200), abs=0.01)
    assert elongation == pytest.approx(3, rel=0.05)
    assert min(abs(turned - angle), 180 - abs(turned - angle)) < 3


def test_an_even_field_is_a_cell_without_a_direction() -> None:
    size, _, elongation, _ = measure_cell(np.full((20, 20, 3), 7, np.uint8))
    assert size == pytest.approx(np.log(400)) and elongation == pytest.approx(1, abs=0.01)


def make_features(rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    small = rng.normal([5, 4], 0.1, (40, 2))
    large = rng.normal([6, 5], 0.1, (40, 2))
    return np.concatenate([small, large]), ["small"] * 40 + ["large"] * 40


def test_a_contradicted_label_and_an_outlier_are_named() -> None:
    features, labels = make_features(np.random.default_rng(0))
    labels[0] = "large"  # it looks like a small one
    features[50] = [6, 9]  # like neither: far too bright
    issues = dict(find_odd_cells(features, labels, [None] * 80))
    assert (issues[0].kind, issues[0].suggested) == ("like another", "small")
    assert "size and brightness are those of small" in issues[0].reason
    assert issues[50].kind == "too bright" and "large: too bright" in issues[50].reason
    assert len(issues) <= 4


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 30), st.floats(0.1, 10))
def test_the_unit_of_brightness_and_size_does_not_matter(seed: int, factor: float) -> None:
    features, labels = make_features(np.random.default_rng(seed))
    labels[3] = "large"
    plain = find_odd_cells(features, labels, [None] * 80)
    scaled = find_odd_cells(features + np.log(factor), labels, [None] * 80)
    assert [(number, issue.kind) for number, issue in plain] == [
        (number, issue.kind) for number, issue in scaled
    ]


@given(st.floats(1e-9, 0.36))
def test_no_spread_of_wrong_labels_says_more_than_the_bound(p: float) -> None:
    k = np.linspace(1e-3, 1, 20_000)
    most = (k * p ** (k - 1)).max()  # of all Beta(k, 1), by trying
    assert bound_evidence(p) == pytest.approx(most, rel=1e-3)


@given(st.floats(1, 4), st.floats(0.1, 4))
def test_what_lies_further_out_is_likelier_wrong(out: float, further: float) -> None:
    features, labels = make_features(np.random.default_rng(0))
    features[50] = [6, 5 + out]
    features[60] = [6, 5 + out + further]
    issues = dict(find_odd_cells(features, labels, [None] * 80))
    assert issues[60].score < issues[50].score


def test_what_only_stands_out_comes_after_what_looks_like_another_class() -> None:
    features, labels = make_features(np.random.default_rng(0))
    labels[0] = "large"  # it looks like a small one
    features[50] = [6, 5.6]  # one right label in two hundred lies so far out
    issues = dict(find_odd_cells(features, labels, [None] * 80))
    assert issues[50].kind == "too bright" and issues[50].score > 0.5
    assert issues[0].score < issues[50].score


def test_a_class_of_few_cells_has_nothing_usual() -> None:
    features = np.random.default_rng(0).normal(0, 1, (FEWEST - 1, 2))
    assert find_odd_cells(features, ["a"] * len(features), [None] * len(features)) == []
    assert find_odd_cells(np.zeros((0, 2)), [], []) == []


UPRIGHT, LYING, ROUND = (5.0, 5.0, 2.5, 90.0), (5.0, 5.0, 2.5, 0.0), (5.0, 5.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("second", "label", "shapes", "expected"),
    [
        ((40, 0, 50, 30), "Anaphase", (UPRIGHT, UPRIGHT), True),
        ((40, 0, 50, 30), "Telophase", (ROUND, ROUND), True),
        ((40, 0, 50, 30), "Metaphase", (UPRIGHT, UPRIGHT), False),  # nothing lies apart there
        ((40, 0, 50, 30), "Anaphase", (LYING, LYING), False),  # end to end
        ((40, 0, 50, 30), "Anaphase", (UPRIGHT, LYING), False),  # not parallel
        ((90, 0, 100, 30), "Anaphase", (UPRIGHT, UPRIGHT), False),  # too far
        ((40, 0, 70, 60), "Anaphase", (ROUND, ROUND), False),  # six times as large
        ((14, 0, 24, 30), "Anaphase", (UPRIGHT, UPRIGHT), False),  # the same cell twice
    ],
)
def test_halves_lie_beside_each_other_alike_and_parallel(
    second: tuple, label: str, shapes: tuple, expected: bool
) -> None:
    boxes = Boxes.from_rows([(12, 0, 22, 30, label), (*second, label)])
    found = find_halves(boxes, shapes)
    assert bool(found) == expected
    if found:
        assert found[0].suggested_box == (12, 0, 50, 30) and 0 <= found[0].score <= 1
        assert found[0].reason == f"two {label} that lie like the halves of one"


def test_a_box_is_half_of_one_cell_at_most() -> None:
    rows = [(20.0 * n, 0.0, 20.0 * n + 10, 30.0, "Anaphase") for n in range(3)]
    assert len(find_halves(Boxes.from_rows(rows), [ROUND] * 3)) == 1
