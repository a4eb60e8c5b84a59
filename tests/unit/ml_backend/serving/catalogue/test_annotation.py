"""Decisions → the items that Label Studio's own screen submits (see the integration test)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ml_backend.serving.catalogue.annotation import write_annotation
from ml_backend.serving.catalogue.decisions import Decision

Make = Callable[..., dict[str, Any]]


def make(kind: Any, label: str = "") -> Decision:
    return Decision(1, kind, label, 7)


def test_confirmed_rejected_and_renamed(region: Make) -> None:
    shown = [region(key, 10, score=0.9) for key in "abcd"]
    written = write_annotation(
        shown,
        {
            "a": make("confirm"),
            "b": make("reject"),
            "c": make("rename", "Other"),
            "d": make("rename", "Mitotic cell"),
        },
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


def test_a_shape_with_its_label_apart_is_renamed_as_one(region: Make) -> None:
    shape = {"x": 1, "y": 1, "width": 5, "height": 5, "rotation": 0}
    shown = [
        region("a", 1, type="rectangle", from_name="shape", value=shape),
        region("a", 1, type="labels", value={**shape, "labels": ["Mitotic cell"]}),
    ]
    written = write_annotation(shown, {"a": make("rename", "Other")})
    assert {item["origin"] for item in written} == {"prediction-changed"}
    assert written[0]["value"] == shape and written[1]["value"]["labels"] == ["Other"]


def test_a_region_that_nobody_decided_is_an_error(region: Make) -> None:
    with pytest.raises(KeyError):
        write_annotation([region("a", 10)], {})
