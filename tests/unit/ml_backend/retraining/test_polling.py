"""What two looks at a project tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ml_backend.label_studio.client import StudioProject
from ml_backend.retraining.polling import find_changes

BEFORE = StudioProject(1, "Cells", "<View/>", "v1", 0.0, tasks=5, annotations=3)


@pytest.mark.parametrize(
    ("changed", "notes"),
    [
        ({}, ()),
        ({"title": "Other cells", "model_version": "v2"}, ()),
        ({"tasks": 6}, ("publish",)),
        ({"annotations": 4}, ("changed",)),
        ({"annotations": 2}, ("changed",)),
        ({"tasks": 4}, ("publish", "changed")),
        ({"label_config": "<View><Image/></View>"}, ("publish", "changed")),
    ],
)
def test_each_change_leaves_the_notes_that_an_event_would(
    changed: dict[str, Any], notes: tuple[str, ...]
) -> None:
    assert find_changes(BEFORE, replace(BEFORE, **changed)) == notes
