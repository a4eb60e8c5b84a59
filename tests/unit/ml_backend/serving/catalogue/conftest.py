"""Tasks as Label Studio's JSON has them, with boxes of two classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_backend.serving.catalogue.store import Catalogue

LABELS = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Mitotic cell"/><Label value="Other"/></RectangleLabels></View>'
)
VERSION = "1-v1-00000000"


def make_region(key: str, x: float, label: str = "Mitotic cell", **changes: Any) -> dict[str, Any]:
    return {
        "id": key, "type": "rectanglelabels", "from_name": "label", "to_name": "image",
        "original_width": 200, "original_height": 100, "image_rotation": 0,
        "value": {
            "x": x, "y": 10, "width": 5, "height": 10, "rotation": 0, "rectanglelabels": [label],
        },
    } | changes  # fmt: skip


def make_task(
    number: int,
    shown: list[dict[str, Any]],
    submitted: list[dict[str, Any]] | None = None,
    **data: Any,
) -> dict[str, Any]:
    prediction = {"id": number * 10, "model_version": VERSION, "result": shown}
    annotation = {
        "id": number * 100, "result": submitted, "completed_by": 1, "was_cancelled": False,
        "updated_at": "2026-01-01", "lead_time": 12.0, "parent_prediction": number * 10,
    }  # fmt: skip
    return {
        "id": number,
        "data": {"image": f"{number}.png", "sample": "Os", **data},
        "predictions": [prediction],
        "annotations": [] if submitted is None else [annotation],
    }


@pytest.fixture
def region() -> Callable[..., dict[str, Any]]:
    return make_region


@pytest.fixture
def task() -> Callable[..., dict[str, Any]]:
    return make_task


@pytest.fixture
def labels() -> str:
    return LABELS


@pytest.fixture
def version() -> str:
    return VERSION


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "1.sqlite")
