"""Bringing a project's pre-annotations to the champion's version, for tasks nobody touched.

New pre-annotations stand before the project points to their version, and old ones go
only when nobody can have them on the screen any more. Where another strategy orders the queue
now, pre-annotations stay and only their scores change, each in place: no task is without one for
a moment. All of it may be stopped anywhere and done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from ml_backend.active_learning.queue import ReviewQueue
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import Serving, untrained
from ml_backend.serving.preannotation import QUEUED, Annotator, LeftOut, PreAnnotation
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
    """version: what the project shows now. Counts of tasks, of old pre-annotations, of new scores.

    rescored: pre-annotations whose score changed, because another strategy gives the scores.
    """

    version: str
    imported: int
    left_out: int
    deleted: int
    rescored: int = 0


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
        queue = self._serving.queue(self._projects, number, annotator.version)
        strategy = queue.strategy
        # First what is there already: the tasks that come now get their scores at once.
        rescored = 0 if strategy.whole else self._rescore(annotator, queue)
        imported = left_out = 0
        for chunk in growing(self._lacking(annotator.version), FIRST, MOST):
            done = self._pre_annotate(chunk, annotator, queue)
            imported += done
            left_out += len(chunk) - done
            progress(imported + left_out)
        if strategy.whole:
            rescored = self._rescore(annotator, queue)
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
        if rescored:
            log.info("project %s: %d tasks put in the order of %s", number, rescored, strategy.name)
        return Published(annotator.version, imported, left_out, deleted, rescored)

    def _follow_labels(self) -> None:
        """Draw with the labels that the project has now; nobody tells us reliably of a change."""
        labels = self._studio.get_project(self._project.id).label_config
        if labels != self._project.label_config:
            self._projects.update_labels(self._project.id, labels)
            self._project = replace(self._project, label_config=labels)

    def _lacking(self, version: str) -> Iterator[dict[str, Any]]:
        """Untouched tasks without that version, and those that /predict passed on to us."""
        number = self._project.id
        untouched = self._studio.list_untouched_tasks(number, without=version)
        left_out = self._projects.left_out(number, limit=1_000_000)
        queued = [one["task"] for one in left_out if one["reason"] == QUEUED]
        waiting = self._studio.list_tasks(number, ids=queued) if queued else ()
        seen: set[int] = set()
        for task in chain(untouched, waiting):
            held = {one.get("model_version") for one in task.get("predictions") or []}
            if task["id"] not in seen and version not in held:
                seen.add(task["id"])
                yield task

    def _rescore(self, annotator: Annotator, queue: ReviewQueue) -> int:
        """Let the scores of untouched tasks follow the queue's strategy; how many changed.

        What the version finds below its threshold is kept nowhere, so it looks again. A task
        that cannot be read now keeps its score.
        """
        number, version, strategy = self._project.id, annotator.version, queue.strategy
        after = self._projects.rescore_after(number, version, strategy.name)
        if after is None:
            return 0
        rescored = 0
        tasks = self._studio.list_untouched_tasks(number, having=version, full=True, after=after)
        for chunk in [list(tasks)] if strategy.whole else growing(tasks, FIRST, MOST):
            drawn = [
                (index, replace(outcome, result=[]))  # of a whole queue only the boxes are held
                for index, outcome in annotator.annotate(chunk, self._images.fetch)
                if isinstance(outcome, PreAnnotation)
            ]
            for index, outcome in annotator.queued(chunk, drawn, queue):
                for held in chunk[index]["predictions"]:
                    if held["model_version"] == version and held["score"] != outcome.score:
                        self._studio.set_score(held["id"], outcome.score)
                        rescored += 1
            if not strategy.whole:
                last = chunk[-1]["id"]
                self._projects.note_rescored(number, version, strategy.name, until=last)
        self._projects.note_rescored(number, version, strategy.name)
        return rescored

    def _pre_annotate(
        self, tasks: list[dict[str, Any]], annotator: Annotator, queue: ReviewQueue
    ) -> int:
        """How many of the tasks got a pre-annotation; the others are listed with a reason."""
        number = self._project.id
        drawn, failed = [], []
        for index, outcome in annotator.annotate(tasks, self._images.fetch):
            if isinstance(outcome, LeftOut):
                failed.append((tasks[index]["id"], outcome.reason))
            else:
                drawn.append((index, outcome))
        # A blind task gets a pre-annotation without boxes: only a score gives it its place.
        new = [
            (tasks[index]["id"], one.version, one.score, one.result)
            for index, one in annotator.queued(tasks, drawn, queue)
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
        history = self._registry.list_changes(str(self._project.id))
        if not history or time.time() - history[-1].at < GRACE:
            return 0
        old = {change.version for change in history} - {version}
        doomed: list[int] = []
        for task in self._studio.list_untouched_tasks(self._project.id, several=True, full=True):
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
