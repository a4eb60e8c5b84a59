"""How far people agree, where there is one name for all that they mark."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from rich.console import Console

from ml_backend.cli import tables
from ml_backend.dataset.consensus import Submission
from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.retraining.annotators import measure_annotators
from tests.e2e.test_labeling_screen import region

LABELS = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "mitosis.xml").read_text(encoding="utf-8")
)


def mark(*left: float) -> list[dict[str, Any]]:
    return [region((x, 10.0, 8.0, 8.0, 0.5), 400, 300) for x in left]


def test_with_one_name_for_all_the_boxes_tell_how_far_people_agree() -> None:
    made = [
        Submission(1, {}, 1, "", (mark(10, 40), mark(10, 40, 70)), (1, 2), annotators=("a", "b")),
        Submission(2, {}, 3, "", (mark(10), mark(10)), (3, 4), annotators=("a", "b")),
        Submission(3, {}, 5, "", (mark(10),), (5,), annotators=("a",)),
    ]
    measured = measure_annotators(made, LABELS)
    # 2 of 2 and 3 boxes are of the same cells: F1 4/5; then 1.
    assert measured["tasks"] == 2 and measured["boxes_f1"] == pytest.approx((0.8 + 1) / 2)
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tables.render_annotators(measured))
    assert "alpha is about names, and all were given the same one" in capture.get()
    assert "the mean F1 of two people's boxes is 0.900" in capture.get()
