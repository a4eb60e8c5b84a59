"""Our own table of detections, a row each, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from globox import BoundingBox

from ml_backend.dataset.annotation_formats.json_array import write_array
from ml_backend.dataset.annotation_formats.records import (
    Add,
    Annotation,
    Detected,
    FileFormat,
    ImageAnnotations,
    read_number,
)
from ml_backend.system.csv_cells import read_cell, write_cell

COLUMNS = ("source", "x1", "y1", "x2", "y2", "label", "confidence", "plane")


def parse_csv(text: str) -> list[dict[str, str]]:
    """The rows of a CSV. Raises ValueError when a column of the table is missing."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := set(COLUMNS) - set(rows.fieldnames or ()):
        raise ValueError(f"it has no column {min(missing)}")
    # Names alone are text; a negative number is no formula.
    named = ("source", "label")
    return [row | {name: read_cell(row[name] or "") for name in named} for row in rows]


def recognizes(content: Any) -> bool:
    """Whether parsed content is a table. So is any list: try other formats first."""
    return isinstance(content, list)


def read(content: Any, report: Callable[[str], None]) -> list[ImageAnnotations]:
    """Read the rows of a table, by image.

    Args:
        content: The rows; each has the COLUMNS.
        report: Not called: the format has no fault that concerns no single box.

    Returns:
        The images in the order in which the rows name them. One without a box is not in
        such a table.

    Raises:
        KeyError, TypeError: A row has no source, or is no row.
    """
    by_source: dict[str, list[Any]] = {}
    for row in content:
        by_source.setdefault(row["source"], []).append(row)
    return [ImageAnnotations(source, rows, _read_box) for source, rows in by_source.items()]


def _read_box(row: Mapping[str, Any]) -> Annotation:
    x1, y1, x2, y2 = (read_number(row[side]) for side in ("x1", "y1", "x2", "y2"))
    return Annotation(
        BoundingBox(label=str(row["label"]), xmin=x1, ymin=y1, xmax=x2, ymax=y2),
        confidence=row["confidence"],
        plane=row["plane"],
        partial=row.get("partial"),
    )


@contextmanager
def write_csv(file: IO[str]) -> Iterator[Add]:
    """Write CSV to a file that was opened with newline=""; yields what adds an image."""
    rows = csv.DictWriter(file, COLUMNS)
    rows.writeheader()
    yield lambda detected: rows.writerows(
        {name: write_cell(value) for name, value in row.items()} for row in _format_rows(detected)
    )


@contextmanager
def write_json(file: IO[str]) -> Iterator[Add]:
    """Write JSON to an open file as detections come; yields what adds an image."""
    with write_array(file) as add:

        def add_image(detected: Detected) -> None:
            for row in _format_rows(detected):
                add(row)

        yield add_image


def _format_rows(detected: Detected) -> Iterator[dict[str, str | float | int | None]]:
    for detection in detected.detections:
        corners = (detection.x1, detection.y1, detection.x2, detection.y2)
        confidence = None if detected.by_hand else detection.confidence
        values = (detected.source, *corners, detection.label, confidence, detection.plane)
        yield dict(zip(COLUMNS, values, strict=True))


JSON_TABLE = FileFormat("JSON", ".json", recognizes, read, write_json)
CSV_TABLE = FileFormat("CSV", ".csv", recognizes, read, write_csv, parse=parse_csv, newline="")
