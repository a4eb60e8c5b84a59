"""The queue of the durable jobs, kept by DBOS: in a SQLite file of the data folder, or PostgreSQL.

At most one job of a kind waits or runs for a project, and one of a kind runs at a time in a worker.
Only workers launch it. On SQLite every launch takes up what a process before it left unfinished;
on PostgreSQL the worker that leads does, for those that are gone.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetEnqueueOptions
from dbos import error as dbos_error

from ml_backend.retraining.crew import Crew
from ml_backend.retraining.jobs import WORKFLOWS, Kind, context
from ml_backend.settings import Settings

log = logging.getLogger(__name__)

# Fixed, so that an upgrade of cytoloop strands no job.
_APPLICATION_VERSION = "1"

# A worker's connections to PostgreSQL, at most, for its jobs.
_CONNECTIONS = 5

# What ended is kept so long, for whoever looks into the jobs' database.
DAYS_KEPT = 7


class JobQueue:
    """The queue of one data folder, or of several machines; one in a process."""

    def __init__(self, settings: Settings, crew: Crew) -> None:
        """Take a place among the workers; nothing runs before `launch`."""
        self._settings = settings
        self._crew = crew
        self._stopped: set[str] = set()

    def launch(self) -> None:
        """Start to work; jobs that a killed worker left go on."""
        context.open(self._settings)
        database = self._settings.jobs_database
        config: DBOSConfig = {
            "name": "cytoloop",
            "system_database_url": f"sqlite:///{database.as_posix()}"
            if isinstance(database, Path)
            else database,
            "executor_id": self._crew.name,
            "application_version": _APPLICATION_VERSION,
            "log_level": "WARNING",
            "sys_db_pool_size": _CONNECTIONS,
        }
        DBOS(config=config)
        DBOS.launch()
        # One training at a time over all projects: two would only slow each other down.
        for kind in WORKFLOWS:
            DBOS.register_queue(kind, worker_concurrency=1, polling_interval_sec=0.5)

    def announce_end(self) -> None:
        """Keep jobs open that fail from here on, because their children are ended with us.

        They go on at the next start where they were.
        """
        context.is_ending = True

    def enqueue(self, kind: Kind, project: int) -> bool:
        """Queue a job; return False where one of its kind waits or runs for the project."""
        if self.is_busy(kind, project):
            return False
        try:
            with SetEnqueueOptions(deduplication_id=f"{kind}-{project}"):
                DBOS.enqueue_workflow(kind, WORKFLOWS[kind], project)
        except dbos_error.DBOSQueueDeduplicatedError:
            return False
        return True

    def is_busy(self, kind: Kind, project: int) -> bool:
        """Tell whether a job of the kind waits or runs for the project."""
        open_jobs = DBOS.list_workflows(
            name=kind, status=["ENQUEUED", "PENDING"], load_output=False
        )
        return any(job.input and job.input["args"][0] == project for job in open_jobs)

    def is_put_off(self, kind: Kind, project: int, asked: float | None = None) -> bool:
        """Tell whether a job that could not be done still has to wait.

        Args:
            kind: The job.
            project: The project's number in Label Studio.
            asked: When a person asked for it (seconds since 1970); who asks after it failed is
                not kept waiting.
        """
        return context.projects.is_put_off(project, kind, asked)

    def revive(self) -> None:
        """Let jobs go on whose end could not be written down, as on a full disk.

        To be called now and then: what stands still at two calls in a row is taken up again at
        its last finished step.
        """
        pending = DBOS.list_workflows(
            status="PENDING", executor_id=self._crew.name, load_input=False, load_output=False
        )
        kinds = {job.workflow_id: job.name for job in pending}
        stopped = set(kinds) - context.running
        for workflow in stopped & self._stopped:
            log.warning("a job to %s had stopped; it goes on", kinds[workflow])
            DBOS.resume_workflow(workflow, queue_name=kinds[workflow])
        self._stopped = stopped

    def take_over(self) -> None:
        """Queue again what workers left that are gone; for the worker that leads."""
        pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        others = {job.executor_id for job in pending if job.executor_id} - {self._crew.name}
        gone = self._crew.find_gone(others)
        for job in pending:
            if job.executor_id in gone:
                log.warning("a job to %s goes on: its worker %s is gone", job.name, job.executor_id)
                DBOS.resume_workflow(job.workflow_id, queue_name=job.name)

    def has_lost_jobs(self) -> bool:
        """Tell whether jobs that run here were taken over by another worker.

        It thought that this one was gone, as when the database could not be reached for a while.
        """
        mine = list(context.running)
        if not mine:
            return False
        jobs = DBOS.list_workflows(workflow_ids=mine, load_input=False, load_output=False)
        return any(job.executor_id != self._crew.name for job in jobs)

    def tidy(self) -> None:
        """Forget jobs that ended long ago; there are some 300 a day for each project."""
        before = datetime.now(UTC) - timedelta(days=DAYS_KEPT)
        old = DBOS.list_workflows(
            status=["SUCCESS", "ERROR"],
            completed_before=before.isoformat(),
            load_input=False,
            load_output=False,
            limit=1000,
        )
        if old:
            DBOS.delete_workflows([job.workflow_id for job in old])
