"""Judging in µm: held to counting by hand; a finer picture of the same has the same figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.dataset.example import Example
from ml_backend.evaluation.metrics import DetectionFigures, evaluate
from ml_backend.evaluation.physical_units import FALSE_A_MM2
from ml_backend.imaging.boxes import Boxes, compute_iou
from tests.unit.ml_backend.evaluation.test_metrics import predicted, random_case

CELL = "Mitotic cell"


def judge(truth: list[Example], drawn: list[Boxes], **more: float) -> DetectionFigures:
    return evaluate(truth, drawn, threshold=0.25, headline=(CELL,), **more)


def square(x: float, y: float, confidence: float | None = None, side: float = 10) -> tuple:
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2, CELL)
    return box if confidence is None else (*box, confidence)


def example(
    *rows: tuple, um: float | None = 0.5, size: tuple[int, int] | None = (1000, 800)
) -> Example:
    return Example(Path("a.png"), "g", Boxes.from_rows(rows), size=size, pixel_size=um)


def test_centres_are_matched_within_seven_and_a_half_microns() -> None:
    # At 0.5 µm a pixel that is 15 px: the first lies 14 px off, the second 16.
    truth = example(square(100, 100), square(300, 300), square(500, 500))
    drawn = predicted([square(114, 100, 0.9), square(300, 316, 0.8)])
    found = judge([truth], [drawn]).microns
    assert (found.radius, found.images) == (7.5, 1)
    assert found.precision.value == pytest.approx(1 / 2)
    assert found.recall.value == pytest.approx(1 / 3)
    assert judge([truth], [drawn], radius_um=8.0).microns.precision.value == 1


def test_what_is_not_known_is_null() -> None:
    drawn = [predicted([square(100, 100, 0.9)])]
    nothing = judge([example(square(100, 100), um=None)], drawn).to_json()["microns"]
    assert nothing["images"] == 0
    assert nothing["radius"] is nothing["f1"] is nothing["area_mm2"] is None
    assert [point["sensitivity"] for point in nothing["froc"]] == [None] * len(FALSE_A_MM2)
    # Without its sides an image has no area; its centres are known all the same.
    sideless = judge([example(square(100, 100), size=None)], drawn).microns
    assert sideless.f1.value == 1 and sideless.area_mm2 is None
    assert sideless.froc[1.0].value is None


def test_images_of_unknown_size_say_nothing_beside_the_others() -> None:
    wrong = predicted([square(600, 600, 0.9)])
    known, unknown = example(square(100, 100)), example(square(100, 100), um=None)
    right = predicted([square(100, 100, 0.9)])
    both = judge([known, unknown], [right, wrong])
    assert both.microns == judge([known], [right]).microns
    assert both.f1.value == 0.5


def test_the_curve_a_mm2_by_hand() -> None:
    # 2000 × 1000 px of 0.5 µm are 0.5 mm², twice: 1 mm² in all, so 3 wrong boxes are 3 a mm².
    truth = [example(square(100, 100), square(300, 300), size=(2000, 1000))] * 2
    rows = [
        [square(100, 100, 0.9), square(700, 700, 0.8), square(300, 300, 0.5)],
        [square(700, 700, 0.7), square(100, 100, 0.6), square(800, 100, 0.55)],
    ]
    found = judge(truth, list(map(predicted, rows))).microns
    assert found.area_mm2 == pytest.approx(1.0)
    # 1 a mm²: down to 0.75, one of four. 3 a mm²: all three wrong ones, three of four.
    assert [found.froc[rate].value for rate in (1.0, 3.0, 10.0)] == [0.25, 0.75, 0.75]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_curve_a_mm2_is_the_best_of_all_thresholds(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, drawn = random_case(seed, images=6, ignored=False)
    truth = [
        replace(
            e, size=(int(random.integers(50, 400)), 200), pixel_size=float(random.uniform(1, 4))
        )
        for e in truth
    ]
    found = judge(truth, drawn).microns
    area = sum(e.size[0] * e.size[1] * e.pixel_size**2 for e in truth) / 1e6  # type: ignore[index, operator]
    truths = sum((e.boxes.label == CELL).sum() for e in truth)  # type: ignore[union-attr]
    assert found.area_mm2 == pytest.approx(area)
    if not truths:
        assert all(figure.value is None for figure in found.froc.values())
        return
    best = dict.fromkeys(FALSE_A_MM2, 0.0)
    for cut in {0.0, *(float(c) for boxes in drawn for c in boxes.confidence)}:
        right = wrong = 0
        for example, boxes in zip(truth, drawn, strict=True):
            hits, shown = greedy(example.boxes, boxes, cut)  # type: ignore[arg-type]
            right, wrong = right + hits, wrong + shown - hits
        for rate in best:
            if wrong <= rate * area:
                best[rate] = max(best[rate], right / truths)
    for rate, value in best.items():
        assert found.froc[rate].value == pytest.approx(value)


def greedy(truth: Boxes, drawn: Boxes, cut: float) -> tuple[int, int]:
    """Hits and boxes of the cells at a threshold: the surest takes what it overlaps most."""
    free = [row[:4] for row in truth.to_rows() if row[4] == CELL]
    shown = sorted(
        (row for row in drawn.to_rows() if row[4] == CELL and row[5] >= cut),
        key=lambda row: -row[5],
    )
    hits = 0
    for row in shown:
        overlap = compute_iou(np.array([row[:4]]), np.array(free).reshape(-1, 4))[0]
        if len(overlap) and overlap.max() >= 0.5:
            # Of equally good ones the last, as COCO does.
            free.pop(len(overlap) - 1 - int(overlap[::-1].argmax()))
            hits += 1
    return hits, len(shown)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.25, 0.5, 2.0, 4.0]))
def test_a_finer_picture_of_the_same_has_the_same_figures(seed: int, factor: float) -> None:
    truth, drawn = random_case(seed)
    truth = [replace(e, size=(400, 300), pixel_size=0.5) for e in truth]
    finer = [
        replace(
            e,
            boxes=replace(e.boxes, xyxy=e.boxes.xyxy * factor),  # type: ignore[type-var, union-attr]
            ignored=e.ignored * factor,
            size=(int(400 * factor), int(300 * factor)),
            pixel_size=0.5 / factor,
        )
        for e in truth
    ]
    larger = [replace(boxes, xyxy=boxes.xyxy * factor) for boxes in drawn]
    assert judge(finer, larger).microns == judge(truth, drawn).microns
