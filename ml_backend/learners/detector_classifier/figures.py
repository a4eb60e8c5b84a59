"""The figures of boxes together with those of their choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml_backend.evaluation.bootstrap import Figure
from ml_backend.evaluation.classification import ClassificationFigures
from ml_backend.evaluation.metrics import DetectionFigures


@dataclass(frozen=True)
class DetectorClassifierFigures:
    """What was found, and what was chosen of it.

    Attributes:
        boxes: The figures of the boxes, whatever was chosen of them.
        choices: Those of the choices, of boxes that found a true one.
        with_choice: F1 of boxes with their choice, see `evaluation.region_choices`.
    """

    boxes: DetectionFigures
    choices: ClassificationFigures
    with_choice: Figure

    @property
    def f1(self) -> Figure:
        """Of the boxes: what is not found has no choice."""
        return self.boxes.f1

    def to_json(self) -> dict[str, Any]:
        """Give the figures of the boxes, and beside them those of the choices."""
        interval = self.with_choice.interval
        return {
            **self.boxes.to_json(),
            "f1_with_choice": self.with_choice.value,
            "f1_with_choice_interval": list(interval) if interval else None,
            "region_choices": self.choices.to_json(),
        }
