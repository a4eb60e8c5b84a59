"""Decisions → the items that Label Studio's own screen submits (see the integration test)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from ml_backend.label_studio.labeling_config import LabelingConfig
from ml_backend.serving.catalogue.annotation import write_annotation
from ml_backend.serving.catalogue.decisions import Decision

Make = Callable[..., dict[str, Any]]


def make(kind: Any, label: str = "") -> Decision:
    return Decision(1, kind, label, 7)


def test_confirmed_rejected_and_renamed(region: Make, labels: str) -> None:
    shown = [region(key, 10, score=0.9) for key in "abcd"]
    written = write_annotation(
        shown,
        {
            "a": make("confirm"),
            "b": make("reject"),
            "c": make("rename", "Other"),
            "d": make("rename", "Mitotic cell"),
        },
        LabelingConfig.parse(labels),
    )
    assert [item["id"] for item in written] == ["a", "c", "d"]
    assert [item["origin"] for item in written] == [
        "prediction", "prediction-changed", "prediction",
    ]  # fmt: skip
    assert [item["value"]["rectanglelabels"] for item in written] == [
        ["Mitotic cell"], ["Other"], ["Mitotic cell"],
    ]  # fmt: skip
    assert list(written[0]) == [
        "original_width", "original_height", "image_rotation", "value", "id", "from_name",
        "to_name", "type", "origin", "score",
    ]  # fmt: skip
    assert shown == [region(key, 10, score=0.9) for key in "abcd"], "what was shown is untouched"


def test_a_shape_with_its_label_apart_is_renamed_as_one(region: Make, labels: str) -> None:
    shape = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0}
    shown = [
        region("a", 1, type="rectangle", from_name="shape", value=shape),
        region("a", 1, type="labels", value={**shape, "labels": ["Mitotic cell"]}),
    ]
    written = write_annotation(shown, {"a": make("rename", "Other")}, LabelingConfig.parse(labels))
    assert {item["origin"] for item in written} == {"prediction-changed"}
    assert written[0]["value"] == shape and written[1]["value"]["labels"] == ["Other"]


def test_a_region_that_nobody_decided_is_an_error(region: Make, labels: str) -> None:
    with pytest.raises(KeyError):
        write_annotation([region("a", 10)], {}, LabelingConfig.parse(labels))


SPREADS = LabelingConfig.parse(
    (files("ml_backend.label_studio.configs") / "spreads.xml").read_text(encoding="utf-8")
)


@pytest.mark.parametrize(
    ("label", "choice", "name", "written"),
    [
        ("Single chromosome", "A", "B", ["Single chromosome", "B"]),
        ("Single chromosome", None, "B", ["Single chromosome", "B"]),
        ("Single chromosome", "A", "Other", ["Other"]),
        ("Single chromosome", "A", "Single chromosome", ["Single chromosome"]),
        ("Other", None, "C", ["Single chromosome", "C"]),
        ("Single chromosome", "A", "A", ["Single chromosome", "A"]),
    ],
)
def test_a_box_that_is_called_by_its_choice_is_renamed(
    region: Make, label: str, choice: str | None, name: str, written: list[str]
) -> None:
    """With the label for which the choice is asked, as on Label Studio's own screen."""
    box = region("a", 10, label, score=0.9)
    shape = {key: side for key, side in box["value"].items() if key != "rectanglelabels"}
    item = {**box, "type": "choices", "from_name": "cohesion", "score": 0.7}
    shown = [box, *([{**item, "value": {**shape, "choices": [choice]}}] if choice else [])]
    result = write_annotation(shown, {"a": make("rename", name)}, SPREADS)
    assert [item["value"][item["type"]] for item in result] == [[name] for name in written]
    assert {item["origin"] for item in result} == {
        "prediction" if choice == name else "prediction-changed"
    }
    (marked,), problems = SPREADS.read_regions(result, 200, 100)
    assert not problems and [*marked.labels, *marked.choices] == written
