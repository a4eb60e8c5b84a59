"""What the worker does, told at the terminal of `up` while it happens: the log is far away."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_backend.state.training_progress import Training

# A line of the worker's log, as `worker.work` lays it out.
_LINE = re.compile(r"\S+ (?P<clock>\d\d:\d\d):\d\d,\d+ [A-Z]+ (?P<said>(?P<about>project \d+): .+)")
# The passes of a training are shown as they go on, not line by line.
_PASS = re.compile(r"project \d+: training (epoch|fold) ")


class News:
    """What is new in the worker's log since this was made."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._at = log.stat().st_size
        self._last: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """What is said of projects, with hour and minute; what is said again and again, once."""
        with self._log.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # the rest of it is still being written
                self._at += len(line)
                found = _LINE.match(line.decode("utf-8", "replace").rstrip())
                if found is None or _PASS.match(found["said"]):
                    continue
                if self._last.get(found["about"]) != found["said"]:
                    self._last[found["about"]] = found["said"]
                    yield f"{found['clock']}  {found['said']}"


def doing(trainings: Sequence[Training]) -> str:
    """What goes on just now, in one line."""
    return "; ".join(map(_pass, trainings)) or "Waiting for corrections"


def _pass(training: Training) -> str:
    said = f"Training for project {training.project}"
    if not training.epochs or training.seconds_left is None:
        return said
    minutes = round(training.seconds_left / 60)
    left = f"about {minutes} min left" if minutes else "less than a minute left"
    return f"{said}: pass {training.epoch} of {training.epochs}, {left}"
