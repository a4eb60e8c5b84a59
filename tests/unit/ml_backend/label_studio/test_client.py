"""Pre-annotations are checked against the labels before they are sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ml_backend.label_studio
from ml_backend.label_studio.client import make_prediction_check

CONFIGS = Path(ml_backend.label_studio.__file__).parent / "configs"


def prediction(label: str, **changed: Any) -> dict[str, Any]:
    region = {
        "from_name": "label",
        "to_name": "image",
        "type": "rectanglelabels",
        "original_width": 100,
        "original_height": 100,
        "value": {"x": 1, "y": 2, "width": 3, "height": 4, "rectanglelabels": [label]},
    }
    return {"model_version": "v1", "score": 0.5, "result": [region | changed]}


@pytest.mark.parametrize(
    ("config", "own", "foreign"),
    [("mitosis", "Mitotic cell", "Tetrad"), ("tetrads", "Tetrad", "Mitotic cell")],
)
def test_only_the_labels_of_the_config_pass(config: str, own: str, foreign: str) -> None:
    find_problems = make_prediction_check((CONFIGS / f"{config}.xml").read_text("utf-8"))
    assert find_problems(prediction(own)) == []
    (problem,) = find_problems(prediction(foreign))
    assert foreign in problem


def test_a_region_of_an_unknown_control_is_a_problem() -> None:
    find_problems = make_prediction_check((CONFIGS / "mitosis.xml").read_text("utf-8"))
    assert find_problems(prediction("Mitotic cell", from_name="elsewhere"))
