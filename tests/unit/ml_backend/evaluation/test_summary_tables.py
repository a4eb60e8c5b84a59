"""The paper's two tables, from a case that was counted by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ml_backend.dataset.example import Example
from ml_backend.evaluation.metrics import DetectionFigures, evaluate
from ml_backend.evaluation.summary_tables import classify_content
from ml_backend.imaging.boxes import Boxes

SIZE = (200, 100)
Row = tuple[float, float, float, float, str]

INSIDE: Row = (50, 20, 90, 60, "Metaphase")
AT_THE_RIGHT: Row = (170, 20, 200, 60, "Anaphase")
AT_THE_TOP: Row = (50, 0, 90, 30, "Metaphase")
CLUTTER: Row = (10, 50, 30, 70, "Other")


def figures(*cases: tuple[list[Row], list[Row]]) -> DetectionFigures:
    """From (truth, drawn at 0.9) of each image, an image a group."""
    examples = [
        Example(Path(f"{n}.png"), str(n), Boxes.from_rows(truth), size=SIZE)
        for n, (truth, _) in enumerate(cases)
    ]
    found = [
        replace(Boxes.from_rows(drawn), confidence=np.full(len(drawn), 0.9)) for _, drawn in cases
    ]
    return evaluate(examples, found, threshold=0.5, headline=("Metaphase", "Anaphase"))


CASES = figures(
    ([INSIDE], [INSIDE]),  # whole, called
    ([INSIDE, AT_THE_RIGHT], []),  # whole (one is), not called
    ([AT_THE_RIGHT], [AT_THE_RIGHT]),  # partial, called
    ([AT_THE_TOP], [(50, 0, 90, 30, "Anaphase")]),  # partial, called, another stage
    ([AT_THE_TOP], []),  # partial, not called
    ([CLUTTER], [CLUTTER]),  # without, not called
    ([], []),  # without, not called
    ([], [INSIDE]),  # without, called
)


def test_images_by_what_they_show() -> None:
    rows = {row.shows: (row.images, row.called, row.accuracy.value) for row in CASES.image_table}
    assert rows == {
        "whole": (2, 1, 1 / 2),
        "partial": (3, 2, 2 / 3),
        "without": (3, 1, 2 / 3),
        "all": (8, 4, 5 / 8),
    }
    intervals = {row.shows: row.accuracy.interval for row in CASES.image_table}
    assert intervals["all"] is not None and intervals["whole"] is None


def test_objects_by_their_stage() -> None:
    rows = {
        row.stage: (row.marked, row.right, row.other, row.missed, row.accuracy.value)
        for row in CASES.stage_table
    }
    assert rows == {
        "Metaphase": (4, 1, 1, 2, 1 / 4),
        "Anaphase": (2, 1, 0, 1, 1 / 2),
        "Other": (1, 1, 0, 0, 1.0),
        "all": (7, 3, 1, 3, 3 / 7),
    }


def test_what_an_image_shows_where_that_is_not_known() -> None:
    box = np.array([INSIDE[:4]])
    assert classify_content(True, box, None) == "with"
    assert classify_content(True, box[:0], SIZE) == "with"  # its row in image_labels.csv says so
    assert classify_content(False, box[:0], None) == "without"


def test_as_json() -> None:
    plain = CASES.to_json()
    assert plain["image_table"][0]["shows"] == "whole"
    assert plain["image_table"][0]["accuracy_interval"] is None
    assert plain["stage_table"][0]["accuracy_interval"] is None
    assert [row["stage"] for row in plain["stage_table"]][-1] == "all"
    assert figures().to_json()["image_table"] == figures().to_json()["stage_table"][:0] == []
