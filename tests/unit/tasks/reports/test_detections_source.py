"""Files of detections as the source of a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ml_backend.dataset.annotation_formats.formats import FILES
from ml_backend.dataset.annotation_formats.records import Detected, Detection
from tasks.detection.classify_files import classify
from tasks.exchange.detection_files import open_writer, read_detections
from tasks.reports.detections_source import read_detections_file
from tasks.reports.pictures import GAP, THUMBNAIL
from tasks.reports.report import write_report
from tests.shades import Shades, paint

CELL, OTHER = "Mitotic cell", "Other"
SOURCES = (
    Detected(
        "a/1.png",
        100,
        80,
        [
            Detection(10, 10, 50, 40, CELL, 0.9, 0, False),
            Detection(60, 0, 99, 9, OTHER, 0.4, 2, True),
        ],
    ),
    Detected("b.tif", 300, 200, [Detection(1.5, 2.25, 9, 9, CELL, 0.5, 0, True)]),
)


@pytest.mark.parametrize("ending", [form.ending for form in FILES])
@pytest.mark.parametrize("by_hand", [False, True])
def test_every_format_is_read_back(tmp_path: Path, ending: str, by_hand: bool) -> None:
    file = tmp_path / f"out{ending}"
    with open_writer(file) as add:
        for entry in SOURCES:
            add(replace(entry, by_hand=by_hand))
    again = read_detections(file)
    assert [entry.source for entry in again] == ["a/1.png", "b.tif"]
    assert {entry.by_hand for entry in again} == {by_hand}
    for entry, other in zip(again, SOURCES, strict=True):
        assert [(d.x1, d.y1, d.x2, d.y2, d.label) for d in entry.detections] == [
            (d.x1, d.y1, d.x2, d.y2, d.label) for d in other.detections
        ]
        if not by_hand:
            assert [d.confidence for d in entry.detections] == [
                d.confidence for d in other.detections
            ]
    source = read_detections_file(file, None)
    assert [group.scan for group in source.groups] == ["a", "b.tif"]
    assert source.classes == (CELL, OTHER) and source.headline == (CELL,)


@pytest.mark.parametrize("content", ["", "{}", "7", '[{"a": 1}]', "x,y\n1,2\n"])
def test_another_file_is_refused_in_a_line(tmp_path: Path, content: str) -> None:
    for name in ("other.json", "other.csv"):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match="is not a file that cytoloop detect wrote"):
            read_detections(tmp_path / name)


def test_classes_of_whole_images_become_counts_shares_and_pictures(tmp_path: Path) -> None:
    for name, shade in (("deep/a.png", 250), ("deep/b.png", 10), ("c.png", 200)):
        paint(tmp_path / "in" / name, shade, (60, 40))
    table = tmp_path / "found.csv"
    classify(tmp_path / "in", Shades(), table, "v1", lambda *at: None)
    source = read_detections_file(table, tmp_path / "in")
    assert source.names_images and source.classes == source.headline == ("Chromosomes", "Others")
    result = write_report(source, tmp_path / "report", lambda *at: None)
    counts = {(row["scan"], row["label"]): row["detected"] for row in result["counts"]}
    assert counts == {
        ("found", "Chromosomes"): 1, ("found", "Others"): 0,
        ("deep", "Chromosomes"): 1, ("deep", "Others"): 1,
    }  # fmt: skip
    total = [row for row in result["shares"] if row["scan"] == "all"]
    assert [(row["part"], row["whole"], row["low"]) for row in total] == [
        (2, 3, None),
        (1, 3, None),
    ]
    names = sorted(path.name for path in (tmp_path / "report" / "pictures").iterdir())
    assert names == ["contact-Chromosomes-1.jpg", "contact-Others-1.jpg"]
    sheet = np.asarray(Image.open(tmp_path / "report" / "pictures" / names[1]).convert("L"))
    assert sheet[GAP + THUMBNAIL // 2, GAP + THUMBNAIL // 2] == pytest.approx(10, abs=4)
    without = read_detections_file(table, None)
    assert len(without.groups) == 3 and without.pixels is None
