"""Boxes fitted by contrast, to discs and rings whose place is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.contrast_fit import Box, fit_at_point, fit_in_box


def paint(x: int, y: int, rx: int, ry: int, *, dark: bool = False, seed: int = 0) -> np.ndarray:
    """An ellipse on a noisy ground of 300 × 240."""
    rng = np.random.default_rng(seed)
    ground, cell = (190, 70) if dark else (40, 170)
    image = np.full((240, 300), ground, np.uint8)
    cv2.ellipse(image, (x, y), (rx, ry), 0, 0, 360, cell, -1)
    noisy = image + rng.normal(0, 5, image.shape)
    return np.repeat(noisy.clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def overlap(first: Box | None, second: Box) -> float:
    assert first is not None
    return float(compute_iou(np.array([first]), np.array([second]))[0, 0])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(60, 240), st.integers(60, 180), st.integers(8, 40), st.integers(8, 40),
    st.booleans(), st.floats(-0.6, 0.6), st.floats(-0.6, 0.6),
)  # fmt: skip
def test_a_click_anywhere_on_a_cell_finds_it(
    x: int, y: int, rx: int, ry: int, dark: bool, dx: float, dy: float
) -> None:
    pixels = paint(x, y, rx, ry, dark=dark)
    found = fit_at_point(pixels, x + dx * rx, y + dy * ry)
    assert overlap(found, (x - rx, y - ry, x + rx, y + ry)) > 0.7


@settings(max_examples=30, deadline=None)
@given(st.integers(70, 230), st.integers(70, 170), st.integers(10, 40), st.floats(0, 1))
def test_a_loose_box_becomes_a_tight_one(x: int, y: int, r: int, share: float) -> None:
    slack = 0.6 * r
    loose = (x - r - share * slack, y - r - share * slack,
             x + r + (1 - share) * slack, y + r + (1 - share) * slack)  # fmt: skip
    true = (x - r, y - r, x + r, y + r)
    assert overlap(fit_in_box(paint(x, y, r, r), loose), true) > max(0.8, overlap(loose, true))


def test_a_neighbour_is_not_taken_along() -> None:
    pixels = np.maximum(paint(80, 120, 25, 25), paint(180, 120, 25, 25, seed=1))
    assert overlap(fit_at_point(pixels, 82, 118), (55, 95, 105, 145)) > 0.8


def test_where_nothing_stands_out_there_is_no_box() -> None:
    ground = paint(0, 0, 1, 1)[60:, 60:]
    assert fit_at_point(ground, 100, 80) is None
    assert fit_in_box(ground, (50, 50, 90, 80)) == (50, 50, 90, 80)


@pytest.mark.parametrize("at", [(0.0, 0.0), (299.9, 239.9), (300.0, 240.0), (0.0, 240.0)])
def test_a_click_at_the_very_edge_is_answered(at: tuple[float, float]) -> None:
    fit_at_point(paint(150, 120, 20, 20), *at)
    assert fit_in_box(paint(150, 120, 20, 20), (*at, *at)) == (*at, *at)


def test_a_cell_that_the_image_cuts_is_fitted_to_its_edge() -> None:
    assert overlap(fit_at_point(paint(0, 120, 30, 30), 5, 120), (0, 90, 30, 150)) > 0.7
