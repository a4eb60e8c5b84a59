"""Files of detections as the source of a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend.dataset.annotation_formats.formats import FILES
from ml_backend.dataset.annotation_formats.records import Detected, Detection
from tasks.exchange.detection_files import open_writer, read_detections
from tasks.reports.detections_source import read_detections_file

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
