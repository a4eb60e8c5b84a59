"""Collecting what annotators submitted: read from Label Studio, and kept as snapshots."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ml_backend.dataset import snapshot as snapshots
from ml_backend.dataset.consensus import Submission, collect_submissions
from ml_backend.dataset.corrections import Correction, find_shown_regions, read_all_corrections
from ml_backend.dataset.snapshot import FetchedImage, Snapshot
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.promotion.rollback import RollbackWatch
from ml_backend.registry.mirror import Mirror
from ml_backend.registry.versions import Registry
from ml_backend.retraining.annotators import measure_annotators, measure_repeats
from ml_backend.retraining.image_cache import TaskData, fetch_images
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.atomic_files import read_json
from ml_backend.system.batching import make_batches

log = logging.getLogger(__name__)

# Annotated tasks whose pre-annotations are copied with one write.
_COPIED = 100


def open_collector(settings: Settings, projects: Projects, registry: Registry) -> Collector:
    """Open the collector of a data folder's connected projects."""
    return Collector(settings, projects, RollbackWatch(projects, registry), registry.mirror)


class Collector:
    """Reads what annotators submitted to the connected projects of a data folder."""

    def __init__(
        self,
        settings: Settings,
        projects: Projects,
        rollback_watch: RollbackWatch,
        mirror: Mirror | None,
    ) -> None:
        self._settings = settings
        self._projects = projects
        self._rollback_watch = rollback_watch
        self._mirror = mirror

    def read_annotated_tasks(self, project: Project) -> Iterator[dict[str, Any]]:
        """Read the annotated tasks as Label Studio has them now.

        The regions that each annotation started from are copied on the way.

        Args:
            project: A connected one.

        Yields:
            Tasks with their annotations and predictions, as Label Studio's API gives them.

        Raises:
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
        """
        studio = Studio(project.url, project.token)
        for batch in make_batches(studio.list_annotated_tasks(project.id), _COPIED):
            shown = {
                annotation: regions
                for task in batch
                for annotation, regions in find_shown_regions(task).items()
            }
            self._projects.keep_shown_regions(project.id, shown)
            yield from batch

    def read_corrections(self, project_id: int) -> tuple[list[Correction], int]:
        """Read what annotators changed, and how many annotations started from nothing.

        Raises:
            NotConnected: There is no such project.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
        """
        project = self._projects.get(project_id)
        studio = Studio(project.url, project.token)
        labels = parse_labels(studio.get_project(project_id).label_config)
        tasks = list(self.read_annotated_tasks(project))
        return read_all_corrections(tasks, self._projects.get_shown_regions(project_id), labels)

    def measure_annotators(self, project_id: int) -> dict[str, Any]:
        """Measure how far the project's annotators agree; they have e-mail addresses for names.

        Returns:
            See `annotators.measure_annotators`.

        Raises:
            NotConnected: There is no such project.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
        """
        project = self._projects.get(project_id)
        studio = Studio(project.url, project.token)
        labels = parse_labels(studio.get_project(project_id).label_config)
        names = studio.list_annotators()
        tasks = list(self.read_annotated_tasks(project))
        first, again = (
            [
                replace(made, annotators=tuple(names.get(who, who) for who in made.annotators))
                for made in collect_submissions(tasks, repeats=repeats)
            ]
            for repeats in (False, True)
        )
        return measure_annotators(first, labels) | measure_repeats(first, again, labels)

    def take_snapshot(self, project_id: int) -> Snapshot:
        """Read the project's corrections, once, and keep them as a snapshot.

        Raises:
            NotConnected: There is no such project.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers;
                StudioUnreachable too where images cannot be had now.
        """
        project = self._projects.get(project_id)
        studio = Studio(project.url, project.token)
        source = ImageSource(
            project.url, project.token, media=self._settings.media, project=project_id
        )
        config = studio.get_project(project_id).label_config
        labels = parse_labels(config)
        if config != project.label_config:  # changed with no webhook: what follows goes by it
            self._projects.update_labels(project_id, config)

        def fetch(chosen: Sequence[Submission]) -> Iterator[FetchedImage | Exception]:
            folder = self._settings.images / str(project_id)
            return fetch_images(chosen, labels.image_key, source, folder)

        tasks = list(self.read_annotated_tasks(project))
        self._rollback_watch.record_usefulness(project_id, tasks, labels)
        snapshot = snapshots.take_snapshot(
            project_id,
            tasks,
            labels,
            fetch,
            self._settings.holdout_share,
            self._settings.annotators,
            self._projects.get_shown_regions(project_id),
            self._settings.soft_labels,
        )

        def present(tasks: Sequence[int]) -> list[int]:
            there = studio.list_tasks(project_id, ids=tasks, full=False) if tasks else ()
            return [task["id"] for task in there]

        snapshot = snapshots.add_lost_tasks(snapshot, self.load_last_snapshot(project_id), present)
        saved = snapshots.save_snapshot(snapshot, self._settings.snapshots)
        if self._mirror:
            self._mirror.put("snapshots", snapshot.name, read_json(saved))
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
        if advice := snapshot.describe_missing_side():
            log.info("project %s: %s", project_id, advice)
        for item in snapshot.items:
            for problem in item.problems:
                log.info("project %s: task %s: %s", project_id, item.task, problem)
        return snapshot

    def load_last_snapshot(self, project_id: int) -> Snapshot | None:
        """Load the snapshot of the last training that was tried; None where there is none."""
        name = self._projects.get_last_attempt(project_id)
        return self._find_snapshot(name) if name else None

    def load_snapshot(self, name: str) -> Snapshot:
        """Load a snapshot by its name, and see that its images are here.

        Raises:
            LookupError: It is not kept in this data folder, nor in the bucket.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: Images are missing, and
                cannot be had from Label Studio.
        """
        found = self._find_snapshot(name)
        if found is None:
            raise LookupError(f"there is no snapshot {name} in {self._settings.snapshots}")
        self._fetch_missing(found)
        return found

    def _find_snapshot(self, name: str) -> Snapshot | None:
        found = snapshots.load_snapshot(name, self._settings.snapshots)
        if found is None and self._mirror:  # another machine may just have taken it
            self._mirror.refresh(0)
            found = snapshots.load_snapshot(name, self._settings.snapshots)
        return found

    def _fetch_missing(self, snapshot: Snapshot) -> None:
        """Fetch images that another machine fetched for a snapshot, or that were removed here."""
        folder = self._settings.images / str(snapshot.project)
        missing = [item.task for item in snapshot.items if not (folder / item.image).exists()]
        if not missing:
            return
        project = self._projects.get(snapshot.project)
        studio = Studio(project.url, project.token)
        source = ImageSource(
            project.url, project.token, media=self._settings.media, project=project.id
        )
        image_key = parse_labels(project.label_config).image_key
        tasks = studio.list_tasks(project.id, ids=missing, full=False)
        for got in fetch_images([TaskData.of(task) for task in tasks], image_key, source, folder):
            if isinstance(got, Exception):
                log.warning("project %s: an image is missing: %s", project.id, got)
