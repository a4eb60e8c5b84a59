"""Publishing: untouched tasks get pre-annotations of the champion's version.

New pre-annotations are imported before the project points to their version, and old ones are
deleted only when nobody can have them open any more. Where another strategy orders the queue
now, pre-annotations stay and only their scores change, each in place: no task is without one for
a moment. Publishing may be stopped anywhere and done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from typing import Any

from ml_backend.active_learning.queue import Queue
from ml_backend.active_learning.strategies.base import Strategy
from ml_backend.counting.drawing import claim_cells
from ml_backend.counting.drawn_queue import QueueDrawer
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import COUNT, ModelCache, name_untrained
from ml_backend.serving.preannotation import QUEUED, SLOW, LeftOut, PreAnnotation, PreAnnotator
from ml_backend.state.projects import Project, Projects
from ml_backend.system.batching import make_growing_batches

log = logging.getLogger(__name__)

# Tasks whose pre-annotations are imported with one call. Few at first, so that something
# shows up at once; then more, because Label Studio counts all tasks of the project anew
# after every call: 5,000 tasks took it 454 s in calls of 32, and 42 s in calls of 500.
FIRST, MOST = 32, 512

# Old pre-annotations stay for so many seconds after a promotion: Label Studio refuses an
# annotation whose pre-annotation is gone, and somebody may have it open, unchanged. (Once
# changed there is a draft, and the task counts as touched.)
GRACE = 600.0

# Once no image of some tasks came for so many seconds, the tasks that came are imported, and the
# others follow after all, within a time that other projects wait for.
PATIENCE, SLOW_SECONDS = 5.0, 90.0
TOO_SLOW = "its image did not come in time; the worker tries again later"


@dataclass(frozen=True)
class Published:
    """What publishing changed.

    Attributes:
        version: The version that the project shows now.
        imported: Tasks that got a pre-annotation.
        left_out: Tasks that got none.
        deleted: Old pre-annotations that were deleted.
        rescored: Pre-annotations whose score changed, because another strategy gives the scores.
    """

    version: str
    imported: int
    left_out: int
    deleted: int
    rescored: int = 0


class Publisher:
    """Publishes the pre-annotations of one project.

    Args:
        project: The project.
        projects: Of the data folder.
        models: Of the data folder.
        registry: Of the data folder.
        studio: The project's Label Studio.
        images: The project's images.
    """

    def __init__(
        self,
        project: Project,
        projects: Projects,
        models: ModelCache,
        registry: Registry,
        studio: Studio,
        images: ImageSource,
    ) -> None:
        self._project = project
        self._projects = projects
        self._models = models
        self._registry = registry
        self._studio = studio
        self._images = images

    def publish(self, progress: Callable[[int], None] = lambda done: None) -> Published:
        """Pre-annotate tasks that lack the champion's version, point to it, delete what is old.

        Args:
            progress: Called with the number of tasks done.

        Raises:
            StudioUnreachable: See `Studio`, also for the other errors of its requests.
        """
        number = self._project.id
        self._follow_labels()
        self._forget_deleted()
        preannotator = self._models.get_preannotator(self._project)
        if preannotator is None:
            self._bring_disputes_forward(name_untrained(number))
            log.info("project %s: no detector matches its labels; nothing is drawn", number)
            return Published(name_untrained(number), 0, 0, 0)
        queue = self._models.open_queue(self._projects, number, preannotator.version)
        strategy = self._models.choose_strategy(self._projects, number)
        drawer = self._models.open_drawer(self._projects, self._project, self._studio)
        rescored = 0
        if drawer is not None:
            drawer.draw()  # somebody may wait for it; the claims of this version take a while
        elif not strategy.whole:
            # Present tasks first: the tasks that are imported now get their scores at once.
            rescored = self._rescore(preannotator, queue, strategy)
        imported = left_out = 0
        slow: list[dict[str, Any]] = []
        for chunk in make_growing_batches(self._list_outdated(preannotator.version), FIRST, MOST):
            done, late = self._preannotate(chunk, preannotator, queue, drawer, patience=PATIENCE)
            slow += late
            imported += done
            left_out += len(chunk) - done - len(late)
            progress(imported + left_out)
        # Last, so that they hold nobody up, and with a common deadline for the same reason.
        deadline = time.monotonic() + SLOW_SECONDS
        for chunk in make_growing_batches(slow, FIRST, FIRST):
            done, _ = self._preannotate(chunk, preannotator, queue, drawer, deadline=deadline)
            imported += done
            left_out += len(chunk) - done
            progress(imported + left_out)
        if drawer is not None:
            rescored = self._claim_present(preannotator, queue, drawer)
            drawer.draw(preannotator.version)
        elif strategy.whole:
            rescored = self._rescore(preannotator, queue, strategy)
        self._bring_disputes_forward(preannotator.version)
        self._studio.set_model_version(number, preannotator.version)
        deleted = self._delete_old(preannotator.version)
        if imported or left_out or deleted:
            log.info(
                "project %s: %s pre-annotated %d tasks, left out %d; %d old ones deleted",
                number,
                preannotator.version,
                imported,
                left_out,
                deleted,
            )
        if rescored:
            order = strategy.name if drawer is None else "their drawing"
            log.info("project %s: %d tasks put in the order of %s", number, rescored, order)
        return Published(preannotator.version, imported, left_out, deleted, rescored)

    def _follow_labels(self) -> None:
        """Take over the project's present labels; Label Studio does not tell every change."""
        labels = self._studio.get_project(self._project.id).label_config
        if labels != self._project.label_config:
            self._projects.update_labels(self._project.id, labels)
            self._project = replace(self._project, label_config=labels)

    def _forget_deleted(self) -> None:
        """Forget why tasks were left out that are not there any more."""
        number = self._project.id
        listed = {row["task"] for row in self._projects.list_left_out(number, limit=1_000_000)}
        there = self._studio.list_tasks(number, ids=sorted(listed), full=False) if listed else ()
        gone = listed - {task["id"] for task in there}
        self._projects.remove_left_out(number, sorted(gone))

    def _list_disputed(self) -> dict[int, dict[str, Any]]:
        """By task, the disputes that one more annotator is to decide."""
        disputed = self._projects.get_agreement(self._project.id).get("disputed", [])
        return {dispute["task"]: dispute for dispute in disputed}

    def _bring_disputes_forward(self, version: str) -> None:
        """Put tasks whose annotators disagree before all others.

        A tie waits for one annotator more than it has: Label Studio would take it for finished.
        """
        disputed = self._list_disputed()
        tasks = self._studio.list_tasks(self._project.id, ids=list(disputed)) if disputed else ()
        for task in tasks:
            dispute = disputed[task["id"]]
            for held in task["predictions"]:
                if held["model_version"] == version and held["score"] != dispute["score"]:
                    self._studio.set_score(held["id"], dispute["score"])
            if dispute["tie"]:
                self._studio.wait_for_annotators(task, dispute["annotators"] + 1)

    def _list_outdated(self, version: str) -> Iterator[dict[str, Any]]:
        """List the tasks that need the version's pre-annotation.

        They are the untouched and the disputed ones without it, and those that /predict left to the
        worker.
        """
        number = self._project.id
        untouched = self._studio.list_untouched_tasks(number, without=version)
        left_out = self._projects.list_left_out(number, limit=1_000_000)
        queued = [task["task"] for task in left_out if task["reason"] == QUEUED]
        queued += list(self._list_disputed())
        waiting = self._studio.list_tasks(number, ids=queued) if queued else ()
        seen: set[int] = set()
        for task in chain(untouched, waiting):
            versions = {held.get("model_version") for held in task.get("predictions") or []}
            if task["id"] not in seen and version not in versions:
                seen.add(task["id"])
                yield task

    def _rescore(self, preannotator: PreAnnotator, queue: Queue, strategy: Strategy) -> int:
        """Score untouched tasks anew where the queue's strategy changed; return how many changed.

        What the version finds below its threshold is kept nowhere, so it predicts again. A task
        that cannot be read now keeps its score.
        """
        number, version = self._project.id, preannotator.version
        after = self._projects.rescore_after(number, version, strategy.name)
        if after is None:
            return 0
        rescored = 0
        tasks = self._studio.list_untouched_tasks(number, having=version, full=True, after=after)
        for chunk in [list(tasks)] if strategy.whole else make_growing_batches(tasks, FIRST, MOST):
            drawn = [
                (index, replace(outcome, result=[]))  # of a whole queue only the boxes are held
                for index, outcome in preannotator.preannotate(
                    chunk, self._images.stream, patience=PATIENCE
                )
                if isinstance(outcome, PreAnnotation)
            ]
            for index, outcome in preannotator.score_in_queue(chunk, drawn, queue):
                rescored += self._set_score(chunk[index], outcome)
            if not strategy.whole:
                last = chunk[-1]["id"]
                self._projects.note_rescored(number, version, strategy.name, until=last)
        self._projects.note_rescored(number, version, strategy.name)
        return rescored

    def _claim_present(self, preannotator: PreAnnotator, queue: Queue, drawer: QueueDrawer) -> int:
        """Claim cells on untouched tasks that hold the version's pre-annotation already.

        They were sent with it, or had it before the project's goal was to count. Returns how many
        got another score.
        """
        number, version = self._project.id, preannotator.version
        after = self._projects.rescore_after(number, version, COUNT)
        if after is None:
            return 0
        rescored = 0
        present = self._studio.list_untouched_tasks(number, having=version, full=True, after=after)
        for chunk in make_growing_batches(present, FIRST, MOST):
            unclaimed = drawer.list_unclaimed((task["id"] for task in chunk), version)
            asked = [task for task in chunk if task["id"] in unclaimed]
            found = [
                (index, outcome)
                for index, outcome in preannotator.preannotate(
                    asked, self._images.stream, patience=PATIENCE, look_at_blind=True
                )
                if isinstance(outcome, PreAnnotation)
            ]
            drawer.keep_claims(version, _claim(asked, found, preannotator))
            everything = [(index, PreAnnotation([], version)) for index in range(len(chunk))]
            for index, outcome in preannotator.score_in_queue(chunk, everything, queue):
                rescored += self._set_score(chunk[index], outcome)
            self._projects.note_rescored(number, version, COUNT, until=chunk[-1]["id"])
        self._projects.note_rescored(number, version, COUNT)
        return rescored

    def _set_score(self, task: dict[str, Any], outcome: PreAnnotation) -> int:
        """Give a task's pre-annotations of a version their score; return how many changed."""
        changed = [
            held["id"]
            for held in task["predictions"]
            if held["model_version"] == outcome.version and held["score"] != outcome.score
        ]
        for prediction in changed:
            self._studio.set_score(prediction, outcome.score)
        return len(changed)

    def _preannotate(
        self,
        tasks: list[dict[str, Any]],
        preannotator: PreAnnotator,
        queue: Queue,
        drawer: QueueDrawer | None,
        *,
        patience: float | None = None,
        deadline: float | None = None,
    ) -> tuple[int, list[dict[str, Any]]]:
        """Pre-annotate tasks and list the others with a reason.

        Returns:
            How many got one, and those that are slow: they are listed nowhere yet.
        """
        number = self._project.id
        drawn, failed, slow = [], [], []
        outcomes = preannotator.preannotate(
            tasks, self._images.stream, deadline, patience, look_at_blind=drawer is not None
        )
        for index, outcome in outcomes:
            if isinstance(outcome, LeftOut) and outcome.reason == SLOW:
                slow.append(tasks[index])
            elif isinstance(outcome, LeftOut) and outcome.reason == QUEUED:
                failed.append((tasks[index]["id"], TOO_SLOW))
            elif isinstance(outcome, LeftOut):
                failed.append((tasks[index]["id"], outcome.reason))
            else:
                drawn.append((index, outcome))
        # A blind task gets a pre-annotation without boxes, because only a score gives it a place.
        new = [
            (tasks[index]["id"], made.version, made.score, made.result)
            for index, made in preannotator.score_in_queue(tasks, drawn, queue)
        ]
        invalid = self._studio.import_predictions(number, self._project.label_config, new)
        if drawer is not None:
            drawer.keep_claims(preannotator.version, _claim(tasks, drawn, preannotator))
        self._projects.remove_left_out(number, [task for task, *_ in new])
        self._projects.add_left_out(number, [*failed, *invalid])
        return len(new) - len(invalid), slow

    def _delete_old(self, version: str) -> int:
        """Delete pre-annotations of earlier versions, and duplicates of the champion's.

        A duplicate comes about when Label Studio finished a request whose sender was killed, or
        when Retrieve predictions asked for the same tasks meanwhile.
        """
        history = self._registry.list_changes(str(self._project.id))
        if not history or time.time() - history[-1].at < GRACE:
            return 0
        old = {change.version for change in history} - {version}
        outdated: list[int] = []
        for task in self._studio.list_untouched_tasks(self._project.id, several=True, full=True):
            held = task["predictions"]
            current = [made for made in held if made["model_version"] == version]
            if current:
                first = min(made["id"] for made in current)
                duplicates = [made for made in current if made["id"] != first]
                outdated += [made["id"] for made in duplicates if _is_aged(made)]
                outdated += [made["id"] for made in held if made["model_version"] in old]
        self._studio.delete_predictions(outdated)
        return len(outdated)


def _claim(
    tasks: list[dict[str, Any]],
    found: Iterable[tuple[int, PreAnnotation]],
    preannotator: PreAnnotator,
) -> dict[int, float]:
    """How many cells the version claims on tasks, by their ids."""
    headline = preannotator.model.card.headline
    return {tasks[index]["id"]: claim_cells(outcome.answers, headline) for index, outcome in found}


def _is_aged(prediction: dict[str, Any]) -> bool:
    """Tell whether it is so old that nobody has its task open since before it was made."""
    created = datetime.fromisoformat(str(prediction["created_at"]).replace("Z", "+00:00"))
    return time.time() - created.timestamp() >= GRACE
