"""Bringing a project's pre-annotations to the champion's version, for tasks nobody touched.

New pre-annotations stand before the old ones go, and only then does the project point
to the new version, so at every moment an annotator sees whole pre-annotations of one
version. All of it may be stopped anywhere and done again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from ml_backend.preannotation import QUEUED, LeftOut, PreAnnotation
from ml_backend.projects import Project, Projects
from ml_backend.serving import Serving, untrained
from ml_backend.studio.client import Studio
from ml_backend.studio.images import ImageSource

log = logging.getLogger(__name__)

# Tasks whose pre-annotations are imported with one call: few enough that they show up
# while the rest is still on its way.
CHUNK = 32


@dataclass(frozen=True)
class Published:
    """version: what the project shows now. Counts of tasks."""

    version: str
    imported: int
    left_out: int


def publish(
    project: Project,
    projects: Projects,
    serving: Serving,
    studio: Studio,
    source: ImageSource,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Published:
    """Pre-annotate every untouched task that has nothing of the champion's version yet."""
    annotator = serving.annotator(project)
    if annotator is None:
        version = untrained(project.id)
        studio.set_model_version(project.id, version)
        log.info("project %s: no detector matches its labels; nothing is pre-annotated", project.id)
        return Published(version, 0, 0)
    queued = {
        entry["task"] for entry in projects.left_out(project.id) if entry["reason"] == QUEUED
    }
    tasks = [
        task
        for task in studio.tasks(project.id)
        if (studio.is_untouched(task) or task["id"] in queued)
        and annotator.version not in {p["model_version"] for p in task["predictions"]}
    ]
    imported = left_out = 0
    for start in range(0, len(tasks), CHUNK):
        chunk = tasks[start : start + CHUNK]
        new: list[tuple[int, PreAnnotation]] = []
        failed: list[tuple[int, str]] = []
        for index, outcome in annotator.annotate(chunk, source.fetch):
            if isinstance(outcome, LeftOut):
                failed.append((chunk[index]["id"], outcome.reason))
            else:
                new.append((chunk[index]["id"], outcome))
        studio.import_predictions(
            project.id, [(task, one.version, one.score, one.result) for task, one in new]
        )
        done = {task for task, _ in new}
        studio.delete_predictions(
            old["id"]
            for task in chunk
            if task["id"] in done and studio.is_untouched(task)
            for old in task["predictions"]
        )
        projects.let_in(project.id, sorted(done))
        projects.leave_out(project.id, failed)
        imported += len(new)
        left_out += len(failed)
        progress(min(start + CHUNK, len(tasks)), len(tasks))
    studio.set_model_version(project.id, annotator.version)
    log.info(
        "project %s: %d tasks pre-annotated by %s, %d left out",
        project.id,
        imported,
        annotator.version,
        left_out,
    )
    return Published(annotator.version, imported, left_out)
