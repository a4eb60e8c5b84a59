"""Figures as people read them at a terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from ml_backend.cli import tables
from ml_backend.dataset.example import Example
from ml_backend.evaluation.metrics import evaluate
from ml_backend.imaging.boxes import Boxes


def printed(marked: str, headline: tuple[str, ...]) -> str:
    """The figures of a detector that draws nothing, on one image with one marked object."""
    boxes = Boxes.from_rows([(1, 1, 9, 9, marked)])
    example = Example(Path("a.png"), "a", boxes, size=(60, 40))
    figures = evaluate([example], [Boxes()], threshold=0.3, headline=headline)
    whole = {"model": "m", "headline": list(headline), "trained_on": 0, "skipped": []}
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tables.render_figures({**whole, **figures.to_json()}))
    return capture.get()


def test_figures_of_a_detector_of_other_things_say_so() -> None:
    text = printed("Chromosomes", ("Tetrad", "Dyad"))
    assert "No Tetrad or Dyad, which this detector is about, is marked here, only Chr" in text
    assert "false boxes" not in text and "calibration" not in text
    text = printed("Chromosomes", ("Mitotic cell",))
    assert "which this detector is about" not in text
    assert "false boxes an image" in text


def test_a_row_a_version_and_no_table_without_any() -> None:
    row = {"project": "1", "version": "1-v1-ab", "champion": True, "created": 0.0, "f1": 0.5}
    console = Console(width=120)
    with console.capture() as capture:
        console.print(tables.render_versions([row, {**row, "version": "1-v2-cd", "f1": None}]))
    lines = capture.get().splitlines()
    assert any("1-v1-ab" in line and "shipped" in line and "0.500" in line for line in lines)
    assert any("1-v2-cd" in line and "-" in line for line in lines)
    assert "no versions yet" in str(tables.render_versions([]))


def test_corrections_are_counted_by_version_and_label() -> None:
    counts = {"kept": 1, "moved": 2, "relabelled": 3, "added": 4, "deleted": 5}
    version = {"version": "v1", "tasks": 6, "accepted": 0, "edits_per_image": 1.25}
    version |= {"seconds_per_image": None, "classes": {"Mitotic cell": counts}}
    console = Console(width=120)
    with console.capture() as capture:
        result = {"project": 1, "versions": [version], "started_from_nothing": 1}
        console.print(tables.render_corrections(result))
    text = " ".join(capture.get().replace("│", " ").split())
    assert "v1 6 0 1.2 -" in text and "v1 Mitotic cell 1 2 3 4 5" in text
    assert "1 annotation started from nothing" in text
