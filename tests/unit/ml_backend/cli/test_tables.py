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
        console.print(tables.figures({**whole, **figures.to_json()}))
    return capture.get()


def test_figures_of_a_detector_of_other_things_say_so() -> None:
    text = printed("Chromosomes", ("Tetrad", "Dyad"))
    assert "No Tetrad or Dyad, which this detector is about, is marked here, only Chr" in text
    assert "false boxes" not in text and "calibration" not in text
    text = printed("Chromosomes", ("Mitotic cell",))
    assert "which this detector is about" not in text
    assert "false boxes an image" in text
