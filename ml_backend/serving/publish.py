"""Bringing a project's pre-annotations to the champion's version, for tasks nobody touched.

New pre-annotations stand before the project points to their version, and old ones go
only when nobody can have them on the screen any more. All of it may be stopped anywhere
and done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import Serving, untrained
from ml_backend.serving.preannotation import QUEUED, Annotator, LeftOut
from ml_backend.state.projects import Project, Projects
from ml_backend.system.batching import growing

log = logging.getLogger(__name__)

# Tasks whose pre-annotations are imported with one call. Few at first, so that something
# shows up at once; then more, because Label Studio counts all tasks of the project anew
# after every call: 5,000 tasks took it 454 s in calls of 32, and 42 s in calls of 500.
FIRST, MOST = 32, 512

# Old pre-annotations stay for so many seconds after a promotion: Label Studio refuses an
# annotation whose pre-annotation is gone, and somebody may have it open, unchanged. (Once
# changed there is a draft, and the task counts as touched.)
GRACE = 600.0


@dataclass(frozen=True)
class Published:
    """version: what the project shows now. Counts of tasks, and of old pre-annotations."""

    version: str
    imported: int
    left_out: int
    deleted: int


class Publisher:
    """Publishes one project.

    serving and registry: of this data folder. studio, images: the project's.
    """

    def __init__(
        self,
        project: Project,
        projects: Projects,
        serving: Serving,
        registry: Registry,
        studio: Studio,
        images: ImageSource,
    ) -> None:
        self._project = project
        self._projects = projects
        self._serving = serving
        self._registry = registry
        self._studio = studio
        self._images = images

    def publish(self, progress: Callable[[int], None] = lambda done: None) -> Published:
        """Pre-annotate what lacks the champion's version; point to it; drop what is old.

        progress: called with the number of tasks done. Raises the errors of `studio`.
        """
        number = self._project.id
        self._follow_labels()
        annotator = self._serving.annotator(self._project)
        if annotator is None:
            log.info("project %s: no detector matches its labels; nothing is drawn", number)
            return Published(untrained(number), 0, 0, 0)
        imported = left_out = 0
        for chunk in growing(self._lacking(annotator.version), FIRST, MOST):
            done = self._pre_annotate(chunk, annotator)
            imported += done
            left_out += len(chunk) - done
            progress(imported + left_out)
        self._studio.set_model_version(number, annotator.version)
        deleted = self._drop_old(annotator.version)
        if imported or left_out or deleted:
            log.info(
                "project %s: %s pre-annotated %d tasks, left out %d; %d old ones deleted",
                number,
                annotator.version,
                imported,
                left_out,
                deleted,
            )
        return Published(annotator.version, imported, left_out, deleted)

    def _follow_labels(self) -> None:
        """Draw with the labels that the project has now; nobody tells us reliably of a change."""
        labels = self._studio.project(self._project.id).label_config
        if labels != self._project.label_config:
            self._projects.update_labels(self._project.id, labels)
            self._project = replace(self._project, label_config=labels)

    def _lacking(self, version: str) -> Iterator[dict[str, Any]]:
        """Untouched tasks without that version, and those that /predict passed on to us."""
        number = self._project.id
        untouched = self._studio.untouched_tasks(number, without=version)
        left_out = self._projects.left_out(number, limit=1_000_000)
        queued = [one["task"] for one in left_out if one["reason"] == QUEUED]
        waiting = self._studio.tasks(number, ids=queued) if queued else ()
        seen: set[int] = set()
        for task in chain(untouched, waiting):
            held = {one.get("model_version") for one in task.get("predictions") or []}
            if task["id"] not in seen and version not in held:
                seen.add(task["id"])
                yield task

    def _pre_annotate(self, tasks: list[dict[str, Any]], annotator: Annotator) -> int:
        """How many of the tasks got a pre-annotation; the others are listed with a reason."""
        number = self._project.id
        drawn, failed = [], []
        for index, outcome in annotator.annotate(tasks, self._images.fetch):
            if isinstance(outcome, LeftOut):
                failed.append((tasks[index]["id"], outcome.reason))
            else:
                drawn.append((index, outcome))
        known = partial(self._projects.certainties, number, annotator.version)
        # A blind task gets a pre-annotation without boxes: only a score gives it its place.
        new = [
            (tasks[index]["id"], one.version, one.score, one.result)
            for index, one in annotator.queued(tasks, drawn, known)
        ]
        self._studio.import_predictions(number, self._project.label_config, new)
        self._projects.let_in(number, [one[0] for one in new])
        self._projects.leave_out(number, failed)
        return len(new)

    def _drop_old(self, version: str) -> int:
        """Delete what nobody needs where the champion's stands: older ones, and doubles of it.

        A double comes about when a request went on in Label Studio whose sender was killed,
        or when Retrieve predictions asked for the same tasks at the same time.
        """
        history = self._registry.history(str(self._project.id))
        if not history or time.time() - history[-1].at < GRACE:
            return 0
        old = {change.version for change in history} - {version}
        doomed: list[int] = []
        for task in self._studio.untouched_tasks(self._project.id, several=True, full=True):
            ours = [one for one in task["predictions"] if one["model_version"] == version]
            if ours:
                first = min(one["id"] for one in ours)
                doomed += [one["id"] for one in ours if one["id"] != first and _aged(one)]
                doomed += [one["id"] for one in task["predictions"] if one["model_version"] in old]
        self._studio.delete_predictions(doomed)
        return len(doomed)


def _aged(prediction: dict[str, Any]) -> bool:
    """Is it so old that nobody has its task open since before it came?"""
    created = datetime.fromisoformat(str(prediction["created_at"]).replace("Z", "+00:00"))
    return time.time() - created.timestamp() >= GRACE
