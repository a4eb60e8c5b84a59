"""Scans whose tiles are classified, with a model that reads the truth off the pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from ml_backend.learners.model_file import REGION_CLASSIFIER
from tasks.detection.scan_classifier import ScanClassifier, refuse_detector_options
from tasks.review.checkpoint import Checkpoint
from tasks.sources.scan_source import SourceOptions
from tests.shades import Shades, paint


def test_every_image_is_looked_at_whole_and_the_bad_ones_are_listed(tmp_path: Path) -> None:
    paint(tmp_path / "b.png", 51)
    paint(tmp_path / "a" / "c.png", 255)
    (tmp_path / "broken.png").write_bytes(b"no image")
    scans = ScanClassifier(tmp_path, Shades(), SourceOptions())
    found = {scan.mosaic.name: scan.choices for scan in scans.classify_scans()}
    assert found == {
        "a/c.png": {0: {(0, 0, 32, 24): {"Chromosomes": 1.0, "Others": 0.0}}},
        "b.png": {0: {(0, 0, 32, 24): {"Chromosomes": 0.2, "Others": 0.8}}},
    }
    assert [entry["source"] for entry in scans.skipped] == ["broken.png"] and scans.tiles == 2


def test_a_large_image_is_cut_into_tiles_that_are_answered_apart(tmp_path: Path) -> None:
    pixels = np.zeros((96, 240), np.uint8)
    pixels[48:, 80:160] = 255
    Image.fromarray(pixels).save(tmp_path / "large.png")
    (scan,) = ScanClassifier(tmp_path, Shades(), SourceOptions(), most=80).classify_scans()
    bright = {rect: c["Chromosomes"] for rect, c in scan.choices[0].items()}
    assert bright == {
        (left, top, left + 80, top + 48): float(left == 80 and top == 48)
        for top in (0, 48)
        for left in (0, 80, 160)
    }


def test_every_plane_of_a_stack_has_its_answer(tmp_path: Path) -> None:
    stack = np.stack([np.full((24, 32), shade, np.uint8) for shade in (0, 51, 255)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    (scan,) = ScanClassifier(tmp_path, Shades(), SourceOptions()).classify_scans()
    bright = [tiles[0, 0, 32, 24]["Chromosomes"] for tiles in scan.choices.values()]
    assert bright == [0.0, 0.2, 1.0] and scan.mosaic.planes == 3
    (flat,) = ScanClassifier(tmp_path, Shades(), SourceOptions(depth="max")).classify_scans()
    assert [tiles[0, 0, 32, 24]["Chromosomes"] for tiles in flat.choices.values()] == [1.0]


def test_tiles_of_a_grid_lie_where_the_microscope_saw_them(tmp_path: Path) -> None:
    for row in range(2):
        for column in range(2):
            paint(tmp_path / f"scan_r{row}_c{column}.png", 255 * (row == column))
    options = SourceOptions(tile_overlap=0, pattern="scan_r{row}_c{column}")
    (scan,) = ScanClassifier(tmp_path, Shades(), options).classify_scans()
    bright = {rect[:2]: choices["Chromosomes"] for rect, choices in scan.choices[0].items()}
    assert bright == {(0, 0): 1.0, (32, 0): 0.0, (0, 24): 0.0, (32, 24): 1.0}


def test_what_was_answered_before_is_not_asked_again(tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / "tiles" / f"{number}.png", 100 + number)
    memory = Checkpoint(tmp_path / "checkpoint.sqlite")
    model, answers = Shades(), []
    for _ in range(2):
        scans = ScanClassifier(tmp_path / "tiles", model, SourceOptions(), memory=memory)
        answers.append([scan.choices for scan in scans.classify_scans()])
    memory.close()
    assert answers[0] == answers[1] and model.asked == 3


def test_a_model_that_names_boxes_is_refused(tmp_path: Path) -> None:
    model = Shades()
    model.card = replace(model.card, kind=REGION_CLASSIFIER)
    with pytest.raises(ValueError, match="names boxes that are drawn already"):
        ScanClassifier(paint(tmp_path / "a.png", 9), model, SourceOptions())


def test_options_of_detectors_are_refused_by_name() -> None:
    refuse_detector_options(overlap=False, int8=False)
    with pytest.raises(ValueError, match="--skip-empty, --int8: only for detectors"):
        refuse_detector_options(skip_empty=True, overlap=False, int8=True)
