"""Which tiles of a classified scan a person is sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tasks.detection.scan_classifier import ClassifiedScan, ScanClassifier
from tasks.review.selection import RANDOM, Send, View
from tasks.review.task_metadata import make_picture_key
from tasks.review.tile_selection import select_tiles
from tasks.sources.scan_source import SourceOptions
from tests.shades import Shades


def scan_of(folder: Path, shades: list[int]) -> ClassifiedScan:
    """A scan of one row of tiles, 8 px wide, of these shades."""
    pixels = np.repeat(np.array(shades, np.uint8), 8)[None].repeat(8, 0)
    Image.fromarray(pixels).save(folder / "row.png")
    (scan,) = ScanClassifier(folder, Shades(), SourceOptions(), most=8).classify_scans()
    return scan


def select(scan: ClassifiedScan, send: Send) -> list[View]:
    return select_tiles(
        scan,
        send,
        most=8,
        list_chosen=lambda choices: [max(choices, key=choices.__getitem__)],
        threshold=0.5,
        key=make_picture_key,
    )


def test_found_nearly_found_and_a_random_few_are_told_apart(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, [255, 80, 10] + [0] * 997)
    assert [v.tile.column for v in select(scan, "found")] == [0]
    assert len(select(scan, "all")) == 1000
    views = select(scan, "review")
    by_reason = {view.reason: [v for v in views if v.reason == view.reason] for view in views}
    assert [v.tile.column for v in by_reason["found"]] == [0]
    assert [v.tile.column for v in by_reason["nearly found"]] == [1]
    chance = by_reason["at random"]
    assert 5 <= len(chance) <= 40 and {v.probability for v in chance} == {RANDOM}
    assert views[0].prediction.choices == {"Chromosomes": 1.0, "Others": 0.0}
    assert select(scan, "review") == views


def test_tiles_that_could_not_be_read_are_not_sent(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, [255, 255, 255])
    del scan.choices[0][8, 0, 16, 8]
    assert [view.tile.column for view in select(scan, "all")] == [0, 2]
