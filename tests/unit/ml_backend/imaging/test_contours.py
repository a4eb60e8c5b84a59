"""Objects by their outlines, on drawn ones whose places are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ml_backend.imaging.boxes import compute_iou
from ml_backend.imaging.contours import ContourRule, find_contours
from ml_backend.imaging.decode import decode

BOXES = [(20, 20, 50, 60), (100, 30, 130, 50), (60, 100, 110, 140)]


def draw(dark: bool) -> np.ndarray:
    """Three ovals, a hair, a speck, and an oval that the border cuts, on a noisy ground."""
    ground, object_ = (180, 80) if dark else (30, 160)
    pixels = np.random.default_rng(0).normal(ground, 4, (160, 200, 3))
    canvas = np.zeros((160, 200), np.uint8)
    for x1, y1, x2, y2 in BOXES:
        centre, axes = ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2)
        cv2.ellipse(canvas, centre, axes, 0, 0, 360, 1, -1)
    cv2.line(canvas, (140, 60), (190, 110), 1, 2)
    cv2.circle(canvas, (20, 130), 3, 1, -1)
    cv2.circle(canvas, (199, 20), 15, 1, -1)
    pixels[canvas > 0] += object_ - ground
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("dark", [True, False])
def test_objects_are_found_on_bright_and_dark_ground(dark: bool) -> None:
    found = find_contours(draw(dark))
    assert len(found) == 3
    assert (compute_iou(np.array(BOXES), found).max(axis=1) > 0.85).all()


def test_each_rule_leaves_out_what_it_is_for() -> None:
    """The hair fills too little, the speck is too small, the largest oval too large."""
    pixels = draw(dark=True)
    assert len(find_contours(pixels, ContourRule(share=0.0))) == 4
    assert len(find_contours(pixels, ContourRule(smallest=4))) == 4
    assert len(find_contours(pixels, ContourRule(largest=45))) == 2
    assert find_contours(np.full((40, 40, 3), 9, np.uint8)).shape == (0, 4)


def test_chromosomes_of_real_spreads_are_found(real_images: Path) -> None:
    """85 % of those that were marked, with about as many boxes; docs/classifier.md says so."""
    from ml_backend.dataset.folder import read_folder

    folder = read_folder(real_images.parent / "chromatid_cohesion")
    marked = drawn = hit = 0
    for example in folder.examples:
        assert example.boxes is not None
        found = find_contours(decode(example.image), ContourRule(largest=120))
        overlap = compute_iou(example.boxes.xyxy, found)
        marked, drawn = marked + len(overlap), drawn + len(found)
        hit += int((overlap.max(axis=1, initial=0) >= 0.5).sum())
    assert hit / marked > 0.8 and hit / drawn > 0.8
