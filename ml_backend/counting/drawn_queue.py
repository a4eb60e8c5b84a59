"""The queue of a project with the goal `count`: Label Studio hands the tiles out as drawn.

What was drawn, and with which probability, stands in the samples' database, and also in the data
of the tasks (`draw`, `draw_p`), so that an export from Label Studio tells it too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml_backend.active_learning.queue import QueuedTask
from ml_backend.active_learning.strategies.base import Context
from ml_backend.counting.drawing import (
    AHEAD,
    FEW_AHEAD,
    compute_score,
    count_kept,
    draw_further,
)
from ml_backend.counting.reviewed import count_classes, list_classes
from ml_backend.counting.sample import DrawnTile, SampleStore
from ml_backend.dataset.consensus import Policy
from ml_backend.label_studio.class_names import choose_headline
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig

log = logging.getLogger(__name__)

# The score of a task that was not drawn: after all that were.
LAST = 1.0
# Tiles that people counted before anything was claimed there have the claims of no version.
_NO_VERSION = "none"


@dataclass(frozen=True)
class DrawnQueue:
    """The order in which tiles were drawn.

    Attributes:
        project: The project's id.
        store: Knows what was drawn.
        remember: Is called when tasks are scored: there may be some without a claim.
    """

    project: int
    store: SampleStore
    remember: Callable[[], None]

    def score(self, tasks: Sequence[QueuedTask], context: Context) -> list[float]:
        """Score tasks by the place at which they were drawn, 0..1; those not drawn come last."""
        self.remember()
        places = {
            tile.task: place
            for place, tile in enumerate(self.store.list_draws(self.project), start=1)
        }
        return [compute_score(places[task.task]) if task.task in places else LAST for task in tasks]


class QueueDrawer:
    """Draws further tiles, and puts them into Label Studio's queue.

    Args:
        project: The project's id.
        store: Of the data folder.
        studio: The project's Label Studio.
        labels: The project's.
        policy: What counts of several annotators of a task.
    """

    def __init__(
        self,
        project: int,
        store: SampleStore,
        studio: Studio,
        labels: LabelingConfig,
        policy: Policy,
    ) -> None:
        self._project, self._store, self._studio = project, store, studio
        self._labels, self._policy = labels, policy

    def list_unclaimed(self, tasks: Iterable[int], version: str) -> set[int]:
        """List the tasks on which a version has claimed nothing yet."""
        claims = self._store.read_claims(self._project)
        return {task for task in tasks if task not in claims or claims[task].version != version}

    def keep_claims(self, version: str, cells: Mapping[int, float]) -> None:
        """Keep how many cells a version claims, by task."""
        self._store.keep_claims(self._project, version, cells)

    def is_drained(self) -> bool:
        """Tell whether so few drawn tiles wait for review that more should be drawn."""
        drawn = self._store.list_draws(self._project)
        if len(drawn) == len(self._store.read_claims(self._project)):
            return False
        return len(self._list_waiting(drawn[-AHEAD:])) <= FEW_AHEAD

    def _list_waiting(self, drawn: Sequence[DrawnTile]) -> set[int]:
        """List those of the drawn tasks that nobody annotated, skipped or has a draft of."""
        ids = [tile.task for tile in drawn]
        found = self._studio.list_untouched_tasks(self._project, ids=ids) if ids else ()
        return {task["id"] for task in found}

    def draw(self, version: str | None = None) -> int:
        """Draw what is needed, and put it into the queue; to be stopped and done again at will.

        Args:
            version: Of the present claims, which all tiles have; tiles drawn by those of
                another that nobody can have seen are put back. None while claims are still
                being made: then none is put back, and nothing is drawn for the first time.

        Returns:
            How many tiles were drawn.
        """
        number, store = self._project, self._store
        before = store.list_draws(number)
        if version is None and not before:
            return 0
        counts = self._read_counts()
        self._claim_reviewed(counts)
        waiting = self._list_waiting(before)
        touched = {tile.task for tile in before} - waiting
        kept = len(before) if version is None else count_kept(before, touched, version)
        drawn, fresh = before[:kept], list[DrawnTile]()
        ahead = sum(tile.task in waiting for tile in drawn)
        if ahead <= FEW_AHEAD:
            fresh = self._draw_present(drawn, counts, AHEAD - ahead)
        if fresh or kept < len(before):
            store.replace_draws(number, kept, fresh)
        back = {tile.task for tile in before[kept:]}
        self._write_places([*drawn, *fresh], waiting | back | {tile.task for tile in fresh})
        return len(fresh)

    def _read_counts(self) -> dict[int, float]:
        classes = list_classes(self._labels)
        rows = [n for n, name in enumerate(classes) if name in choose_headline(classes)]
        annotated = self._studio.list_annotated_tasks(self._project)
        counts = count_classes(annotated, self._labels, self._policy)
        return {task: float(found[rows].sum()) for task, found in counts.items()}

    def _claim_reviewed(self, counts: Mapping[int, float]) -> None:
        """Take tiles that were reviewed before anything was claimed there for average ones."""
        claims = self._store.read_claims(self._project)
        mean = float(np.mean([claim.cells for claim in claims.values()])) if claims else 0.0
        lacking = dict.fromkeys(counts.keys() - claims.keys(), mean)
        if lacking:
            self._store.keep_claims(self._project, _NO_VERSION, lacking)

    def _draw_present(
        self, drawn: Sequence[DrawnTile], counts: Mapping[int, float], size: int
    ) -> list[DrawnTile]:
        """Draw tiles; when one is not there any more, forget it and draw anew."""
        generator = np.random.default_rng()
        while True:
            claims = self._store.read_claims(self._project)
            fresh = draw_further(generator, drawn, claims, counts, size)
            ids = [tile.task for tile in fresh]
            found = self._studio.list_tasks(self._project, ids=ids, full=False) if ids else ()
            gone = set(ids) - {task["id"] for task in found}
            if not gone:
                return fresh
            self._store.remove_claims(self._project, gone)

    def _write_places(self, drawn: Sequence[DrawnTile], tasks: set[int]) -> None:
        """Write the places of tasks into Label Studio, where they differ from what stands there."""
        places = {tile.task: (place, tile) for place, tile in enumerate(drawn, start=1)}
        for task in self._studio.list_tasks(self._project, ids=sorted(tasks)) if tasks else ():
            place, tile = places.get(task["id"], (None, None))
            score = LAST if place is None else compute_score(place)
            for held in task["predictions"]:
                if held["score"] != score:
                    self._studio.set_score(held["id"], score)
            data = _note_draw(task["data"], place, tile)
            if data != task["data"]:
                self._studio.update_data(task["id"], data)


def _note_draw(
    data: Mapping[str, Any], place: int | None, tile: DrawnTile | None
) -> dict[str, Any]:
    """Note in a task's data at which place it was drawn, and with which probability."""
    rest = {name: value for name, value in data.items() if name not in ("draw", "draw_p")}
    return rest if tile is None else {**rest, "draw": place, "draw_p": tile.probability}
