"""What the worker does, shown on the terminal of `cytoloop up` while it happens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_backend.state.training_progress import Training

# A line of the worker's log, in the format that `ml_backend.retraining.worker` gives it.
_LINE = re.compile(
    r"\S+ (?P<clock>\d\d:\d\d):\d\d,\d+ [A-Z]+ (?P<message>(?P<project>project \d+): .+)"
)
# Epochs and folds are left out: `describe_trainings` shows how far a training is.
_STEP = re.compile(r"project \d+: training (epoch|fold) ")


class WorkerLog:
    """What is added to the worker's log from now on.

    Args:
        path: The log, which must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size
        self._last: dict[str, str] = {}

    def read_new_lines(self) -> Iterator[str]:
        """Read the messages about projects that were added since the last call.

        Yields:
            Hour and minute, and the message. A message that repeats the last one of its
            project is left out, and so is a line whose end is not written yet.
        """
        with self._path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < self._offset:  # it was put aside, and began anew
                self._offset = 0
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                found = _LINE.match(line.decode("utf-8", "replace").rstrip())
                if found is None or _STEP.match(found["message"]):
                    continue
                if self._last.get(found["project"]) != found["message"]:
                    self._last[found["project"]] = found["message"]
                    yield f"{found['clock']}  {found['message']}"


def describe_trainings(trainings: Sequence[Training]) -> str:
    """Say in one line which trainings run and how far they are."""
    return "; ".join(map(_describe_training, trainings)) or "Waiting for corrections"


def _describe_training(training: Training) -> str:
    text = f"Training for project {training.project}"
    if not training.epochs or training.seconds_left is None:
        return text
    minutes = round(training.seconds_left / 60)
    left = f"about {minutes} min left" if minutes else "less than a minute left"
    return f"{text}: pass {training.epoch} of {training.epochs}, {left}"
