"""Our own table of detections, written and read."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest
from hypothesis import given

from ml_backend.dataset.annotation_formats.detection_table import (
    COLUMNS,
    CSV_TABLE,
    JSON_TABLE,
    parse_csv,
)
from ml_backend.dataset.annotation_formats.records import Detected, FileFormat, to_detected
from tests.detections import images, laws, read_text, write_text


@pytest.mark.parametrize("form", [CSV_TABLE, JSON_TABLE])
@pytest.mark.parametrize("by_hand", [False, True])
@laws
@given(found=images())
def test_what_is_written_is_read(form: FileFormat, by_hand: bool, found: list[Detected]) -> None:
    found = [replace(detected, by_hand=by_hand) for detected in found]
    again = map(to_detected, read_text(form, write_text(form, found)))
    expected = []
    for detected in filter(lambda detected: detected.detections, found):
        boxes = [
            replace(box, partial=False, confidence=1.0 if by_hand else box.confidence)
            for box in detected.detections
        ]
        expected.append(replace(detected, width=0, height=0, detections=boxes))
    assert list(again) == expected


@laws
@given(found=images())
def test_both_hold_every_column(found: list[Detected]) -> None:
    truth = [
        [detected.source, *(getattr(box, name) for name in COLUMNS[1:])]
        for detected in found
        for box in detected.detections
    ]
    rows = json.loads(write_text(JSON_TABLE, found))
    assert [[row[name] for name in COLUMNS] for row in rows] == truth
    table = list(csv.reader(io.StringIO(write_text(CSV_TABLE, found), newline="")))
    assert table == [list(COLUMNS), *([str(value) for value in row] for row in truth)]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="no column confidence"):
        parse_csv("source,x1,y1,x2,y2,label,plane\r\n")
