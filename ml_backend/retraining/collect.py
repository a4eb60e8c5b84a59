"""What annotators submitted, read from Label Studio, and the snapshots taken of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.consensus import Submission
from ml_backend.dataset.corrections import Correction, find_shown_regions, read_all_corrections
from ml_backend.dataset.snapshot import FetchedImage, Snapshot
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.promotion.rollback import RollbackWatch
from ml_backend.registry.versions import Registry
from ml_backend.retraining.image_cache import fetch_images
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.batching import chunks

log = logging.getLogger(__name__)

# Annotated tasks whose pre-annotations are copied with one write.
_COPIED = 100


def open_submissions(settings: Settings, projects: Projects, registry: Registry) -> Submissions:
    """Open what was submitted to the connected projects of a data folder."""
    return Submissions(settings, projects, RollbackWatch(projects, registry))


class Submissions:
    """Of all connected projects of one data folder."""

    def __init__(self, settings: Settings, projects: Projects, aftermath: RollbackWatch) -> None:
        self._settings = settings
        self._projects = projects
        self._aftermath = aftermath

    def annotated(self, project: Project) -> Iterator[dict[str, Any]]:
        """The annotated tasks, as Label Studio has them now.

        What each annotation started from is copied on the way.
        """
        studio = Studio(project.url, project.token)
        for chunk in chunks(studio.list_annotated_tasks(project.id), _COPIED):
            shown = {key: one for task in chunk for key, one in find_shown_regions(task).items()}
            self._projects.keep_shown(project.id, shown)
            yield from chunk

    def corrections(self, project_id: int) -> tuple[list[Correction], int]:
        """What annotators changed, and how many annotations started from nothing."""
        project = self._projects.get(project_id)
        studio = Studio(project.url, project.token)
        labels = parse_labels(studio.get_project(project_id).label_config)
        tasks = list(self.annotated(project))
        return read_all_corrections(tasks, self._projects.shown(project_id), labels)

    def take(self, project_id: int) -> Snapshot:
        """Read the project's corrections, once, and keep them."""
        project = self._projects.get(project_id)
        studio = Studio(project.url, project.token)
        source = ImageSource(
            project.url, project.token, media=self._settings.media, project=project_id
        )
        config = studio.get_project(project_id).label_config
        labels = parse_labels(config)
        if config != project.label_config:  # changed without a word: what follows goes by it
            self._projects.update_labels(project_id, config)

        def fetch(chosen: Sequence[Submission]) -> Iterator[FetchedImage | Exception]:
            folder = self._settings.images / str(project_id)
            return fetch_images(chosen, labels.image_key, source, folder)

        tasks = list(self.annotated(project))
        self._aftermath.record_usefulness(project_id, tasks, labels)
        snapshot = snapshots.take_snapshot(
            project_id,
            tasks,
            labels,
            fetch,
            self._settings.holdout_share,
            self._settings.annotators,
            self._projects.shown(project_id),
        )

        def present(tasks: Sequence[int]) -> list[int]:
            there = studio.list_tasks(project_id, ids=tasks, full=False) if tasks else ()
            return [task["id"] for task in there]

        snapshot = snapshots.add_lost_tasks(snapshot, self.last_snapshot(project_id), present)
        snapshots.save_snapshot(snapshot, self._settings.snapshots)
        for task, reason in snapshot.left_out:
            log.warning("project %s: task %s is not in the snapshot: %s", project_id, task, reason)
        for task, reason in snapshot.lost:
            log.warning(
                "project %s: the hold-out lost task %s: %s; figures from before and after "
                "are of different exams",
                project_id,
                task,
                reason,
            )
        if said := snapshot.describe_missing_side():
            log.info("project %s: %s", project_id, said)
        for item in snapshot.items:
            for problem in item.problems:
                log.info("project %s: task %s: %s", project_id, item.task, problem)
        return snapshot

    def last_snapshot(self, project_id: int) -> Snapshot | None:
        """The snapshot of the last training that was tried."""
        name = self._projects.last_attempt(project_id)
        return snapshots.load_snapshot(name, self._settings.snapshots) if name else None

    def snapshot(self, name: str) -> Snapshot:
        """Raises LookupError when it is not kept here."""
        found = snapshots.load_snapshot(name, self._settings.snapshots)
        if found is None:
            raise LookupError(f"there is no snapshot {name} in {self._settings.snapshots}")
        return found
