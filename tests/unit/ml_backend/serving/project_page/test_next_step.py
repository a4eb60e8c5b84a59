"""What to do next, in one sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml_backend.serving.project_page.next_step import Progress, describe_next_step

MIDWAY = Progress(
    tasks=100, untouched=60, trained=True, training=False, asked=False, corrected=13, wanted=20,
    held_out=8, held_out_left=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({}, "Correct 7 more tasks"),
        ({"corrected": 19}, "Correct 1 more task;"),
        ({"untouched": 6}, "Correct the 6 tasks that nobody reviewed, then start"),
        ({"corrected": 20}, "Correct 12 tasks whose split is holdout"),
        ({"corrected": 20, "held_out": 17}, "Correct 3 tasks whose split is holdout"),
        ({"corrected": 20, "held_out_left": 0}, "The next training begins by itself"),
        ({"tasks": 0}, "Import images"),
        ({"training": True}, "Go on correcting"),
        ({"asked": True}, "Wait a moment"),
        ({"untouched": 0}, "Every task is reviewed"),
        ({"trained": False}, "Mark the cells of 7 more images"),
        ({"trained": False, "corrected": 30}, "Start the training"),
    ],
)
def test_each_state_has_its_sentence(changes: dict, begins: str) -> None:
    assert describe_next_step(replace(MIDWAY, **changes))[0].startswith(begins)


def test_what_the_next_corrections_would_bring_is_told() -> None:
    outlook = "The next 50 would bring under a point."
    assert describe_next_step(replace(MIDWAY, outlook=outlook))[1] == outlook
