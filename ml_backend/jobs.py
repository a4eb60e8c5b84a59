"""The durable jobs and their rules: improve a project, publish its champion.

Jobs live in DBOS on an embedded SQLite file. A job that was killed goes on at its last
finished step when the worker starts again; at most one of a kind waits or runs for a
project. Only the worker launches this.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from dbos import DBOS, DBOSConfig, SetEnqueueOptions
from dbos._error import DBOSMaxStepRetriesExceeded, DBOSQueueDeduplicatedError

from ml_backend.improvement import Improvement, NothingToLearn
from ml_backend.learners.training import TrainingFailed
from ml_backend.publishing import Publisher
from ml_backend.recorder import record_in_child
from ml_backend.serving import Serving
from ml_backend.settings import Settings
from ml_backend.studio.client import STUDIO_ERRORS, ProjectGone, Studio, StudioRefused
from ml_backend.studio.images import ImageSource

log = logging.getLogger(__name__)

# Fixed, so that an upgrade of cytoloop or another machine name strands no job.
_EXECUTOR = "worker"
_APPLICATION_VERSION = "1"

# Faults of the way to Label Studio pass: 1, 2, 4 … 64 s, about two minutes in all. What
# lasts longer ends the job, and the next reconciliation starts it anew.
# A token that is refused or a project that is gone does not come back by asking again.
_patient_step = partial(
    DBOS.step,
    retries_allowed=True,
    interval_seconds=1.0,
    max_attempts=8,
    backoff_rate=2.0,
    should_retry=lambda error: not isinstance(error, (StudioRefused, ProjectGone)),
)


class Jobs:
    """The queue, launched over one data folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        improvement = Improvement(settings)
        serving = Serving(settings, improvement.registry)
        projects = improvement.projects

        @_patient_step(name="snapshot")
        def take_snapshot(project: int) -> str:
            return improvement.take_snapshot(project).name

        @DBOS.step(name="train")
        def train(project: int, snapshot: str) -> str:
            def progress(step: dict[str, Any]) -> None:
                log.info("project %s: training %s", project, _said(step))

            return improvement.train(improvement.snapshot(snapshot), progress=progress).name

        @DBOS.step(name="judge")
        def judge(version: str, snapshot: str) -> tuple[bool, list[str]]:
            decision = improvement.judge(
                improvement.registry.get(version), improvement.snapshot(snapshot)
            )
            return decision.promoted, list(decision.reasons)

        @DBOS.step(name="promote")
        def promote(project: int, version: str, reasons: list[str]) -> None:
            improvement.promote(version, project, reasons, by="cytoloop")

        @DBOS.step(name="record")
        def record(version: str) -> bool:
            return record_in_child(version, settings)

        @DBOS.workflow(name="improve")
        def improve(project: int) -> str:
            try:
                snapshot = take_snapshot(project)
            except (*STUDIO_ERRORS, DBOSMaxStepRetriesExceeded) as error:
                # The wish to train stays; the worker follows it again when the way is free.
                log.error("project %s: no snapshot: %s", project, error)
                projects.leave(project, "train")
                return str(error)
            try:
                version = train(project, snapshot)
            except (NothingToLearn, TrainingFailed) as error:
                projects.attempted(project, snapshot, str(error))
                log.error("project %s: not trained: %s", project, error)
                return str(error)
            promoted, reasons = judge(version, snapshot)
            if promoted:
                promote(project, version, reasons)
            projects.attempted(project, snapshot, reasons[0])
            log.info(
                "project %s: %s %s: %s",
                project,
                version,
                "is the new champion" if promoted else "was not promoted",
                "; ".join(reasons),
            )
            record(version)
            return reasons[0]

        @_patient_step(name="publish")
        def publish_step(project_id: int) -> str:
            project = projects.get(project_id)
            studio = Studio(project.url, project.token)
            source = ImageSource(
                project.url, project.token, media=settings.media, project=project_id
            )
            registry = improvement.registry
            publisher = Publisher(project, projects, serving, registry, studio, source)
            return publisher.publish().version

        @DBOS.workflow(name="publish")
        def publish(project: int) -> str:
            try:
                return publish_step(project)
            except (*STUDIO_ERRORS, DBOSMaxStepRetriesExceeded) as error:
                # Every reconciliation publishes what is missing.
                log.error("project %s: not published: %s", project, error)
                return str(error)

        self._workflows = {"improve": improve, "publish": publish}

    def launch(self) -> None:
        """Start; jobs that a killed worker left go on."""
        config: DBOSConfig = {
            "name": "cytoloop",
            "system_database_url": f"sqlite:///{self._settings.jobs_database.as_posix()}",
            "executor_id": _EXECUTOR,
            "application_version": _APPLICATION_VERSION,
            "log_level": "WARNING",
        }
        DBOS(config=config)
        DBOS.launch()
        # One training at a time over all projects: two would only slow each other down.
        for name in self._workflows:
            DBOS.register_queue(name, worker_concurrency=1, polling_interval_sec=0.5)

    def enqueue(self, kind: str, project: int) -> bool:
        """Queue a job; False where one of its kind waits or runs for the project already."""
        try:
            with SetEnqueueOptions(deduplication_id=f"{kind}-{project}"):
                DBOS.enqueue_workflow(kind, self._workflows[kind], project)
        except DBOSQueueDeduplicatedError:
            return False
        return True


def _said(step: dict[str, Any]) -> str:
    parts = [
        f"{key} {value}" for key, value in step.items() if isinstance(value, (int, float, str))
    ]
    return ", ".join(parts)
