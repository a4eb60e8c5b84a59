"""Lets two versions draw the same tasks, in the background, and keeps what they drew."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ml_backend.imaging.boxes import Boxes
from ml_backend.imaging.decode import decode, measure_decoded
from ml_backend.imaging.decode_budget import BUDGET
from ml_backend.learners.base import Model, Picture, Prediction
from ml_backend.serving.catalogue.store import Catalogue
from ml_backend.serving.side_by_side.differences import Differences, find_differences

Fetch = Callable[[str], bytes | Exception]
Load = Callable[[str], Model]
_PATIENCE = 20.0


@dataclass(frozen=True)
class ComparedTask:
    """What two versions drew in one task.

    Attributes:
        task: Its id.
        size: Width and height of its image, px.
        left: The boxes of the one.
        right: Those of the other.
        differences: Where they differ.
    """

    task: int
    size: tuple[int, int]
    left: Boxes
    right: Boxes
    differences: Differences


class Comparer:
    """Draws the tasks of one project with any two versions; safe among threads.

    Args:
        catalogue: Of the project; keeps what was drawn.
        fetch: Returns an image by its address, or why it cannot be had.
        load: Loads a version.

    Attributes:
        problem: Why the last drawing failed; "" where it did not.
    """

    def __init__(self, catalogue: Catalogue, fetch: Fetch, load: Load) -> None:
        self.problem = ""
        self._catalogue = catalogue
        self._fetch = fetch
        self._load = load
        self._drawing = threading.Lock()

    @property
    def is_drawing(self) -> bool:
        """Whether versions draw now."""
        return self._drawing.locked()

    def start(self, versions: Sequence[str], tasks: Sequence[int]) -> None:
        """Let versions draw tasks that they have not drawn, without waiting for it."""
        threading.Thread(target=self.draw, args=(versions, tasks), daemon=True).start()

    def draw(self, versions: Sequence[str], tasks: Sequence[int]) -> None:
        """Let versions draw tasks that they have not drawn; one drawing goes on at a time."""
        if not self._drawing.acquire(blocking=False):
            return
        try:
            self.problem = ""
            models: dict[str, Model] = {}
            for task in tasks:
                for version in versions:
                    if self._read(task, version) is None:
                        if version not in models:
                            models[version] = self._load(version)
                        self._draw_task(task, version, models[version])
        except Exception as error:  # shown on the page; a model may fail in any way
            self.problem = str(error) or type(error).__name__
        finally:
            self._drawing.release()

    def compare(self, left: str, right: str, tasks: Sequence[int]) -> list[ComparedTask]:
        """Compare what two versions drew; those that differ most come first.

        Args:
            left: The one version.
            right: The other.
            tasks: Those that are compared, as far as both have drawn them.
        """
        found = []
        for task in tasks:
            one, other = self._read(task, left), self._read(task, right)
            if one is not None and other is not None:
                differences = find_differences(one.boxes, other.boxes)
                found.append(ComparedTask(task, one.size, one.boxes, other.boxes, differences))
        return sorted(found, key=lambda compared: (-compared.differences.count, compared.task))

    def _read(self, task: int, version: str) -> Prediction | None:
        row = (
            self._catalogue.read()
            .execute("select content from answer where task = ? and version = ?", (task, version))
            .fetchone()
        )
        return None if row is None else Prediction.from_json(json.loads(row[0]))

    def _draw_task(self, task: int, version: str, model: Model) -> None:
        found = self._catalogue.get_task(task)
        content = self._fetch(found[0]) if found else FileNotFoundError("the task is gone")
        if isinstance(content, Exception):
            return  # told with the project, and with its picture here
        taken = measure_decoded(content)
        if not BUDGET.take(taken, _PATIENCE):
            return
        try:
            pixels = decode(content)
            (prediction,) = model.predict([Picture(pixels)], model.card.threshold)
        finally:
            BUDGET.give_back(taken)
        sure = prediction.boxes.confidence >= model.card.threshold
        shown = np.isin(prediction.boxes.label, model.card.headline)
        kept = Prediction(prediction.size, prediction.boxes.select(sure & shown))
        with self._catalogue.write() as database:
            database.execute(
                "insert or replace into answer values (?, ?, ?)",
                (task, version, json.dumps(kept.to_json())),
            )
