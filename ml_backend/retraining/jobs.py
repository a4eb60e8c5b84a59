"""The durable jobs and their rules: improve a project, publish its champion.

Jobs live in DBOS on an embedded SQLite file. A job that was killed goes on at its last
finished step when the worker starts again; at most one of a kind waits or runs for a
project. Only the worker launches this.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from dbos import DBOS, DBOSConfig, SetEnqueueOptions
from dbos._error import DBOSQueueDeduplicatedError
from sqlalchemy.exc import SQLAlchemyError

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.session import STUDIO_ERRORS, ProjectGone
from ml_backend.learners.base import TrainingFailed, TrainingInterrupted
from ml_backend.promotion.comparison import Trial
from ml_backend.registry.versions import Registry
from ml_backend.retraining.collect import open_submissions
from ml_backend.retraining.mlflow_log import record_in_child
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.retraining.train_version import NothingToLearn
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.publish import Publisher
from ml_backend.settings import Settings
from ml_backend.state.projects import NotConnected, Projects

log = logging.getLogger(__name__)

# Fixed, so that an upgrade of cytoloop or another machine name strands no job.
_EXECUTOR = "worker"
_APPLICATION_VERSION = "1"

Kind = Literal["improve", "publish"]

# What passes by itself or by a person's hand: Label Studio away, its token refused, the
# disk full. The job ends in one line; its wish stays, and it is done again after 1, 4, 16 …
# minutes, at most as long as between two reconciliations. What a training did up to there
# is not lost: its steps that were finished are found again.
_PASSING = (*STUDIO_ERRORS, OSError, sqlite3.Error, SQLAlchemyError)
FIRST_WAIT, GROWTH = 60.0, 4.0
# A training that is killed again and again takes the machine for nothing: ask it less often.
_LONGEST = 4 * 3600.0

# What ended is kept so long, for whoever looks into the jobs' database.
_DAYS_KEPT = 7


class Jobs:
    """The queue, launched over one data folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._failures: Counter[tuple[Kind, int]] = Counter()
        # When a job was put off, and until when; by the clock of the notes.
        self._waits: dict[tuple[Kind, int], tuple[float, float]] = {}
        self._running: set[str] = set()
        # Set when the process is about to end, and with it the children of its jobs.
        self.ending = False
        self._stopped: set[str] = set()
        projects = Projects(settings.projects_database)
        registry = Registry(settings.versions, settings.champions)
        submissions = open_submissions(settings, projects, registry)
        pipeline = Pipeline(settings, projects, registry)
        self._projects = projects
        serving = ModelCache(settings, registry)

        @DBOS.step(name="snapshot")
        def take_snapshot(project: int) -> str:
            return submissions.take(project).name

        @DBOS.step(name="train")
        def train(project: int, snapshot: str) -> str:
            def progress(step: dict[str, Any]) -> None:
                log.info("project %s: training %s", project, _said(step))

            return pipeline.train(submissions.snapshot(snapshot), progress=progress).name

        def trial(version: str, snapshot: str, champion: str | None) -> Trial:
            candidate = registry.get(version)
            return pipeline.trial(candidate, submissions.snapshot(snapshot), champion)

        @DBOS.step(name="plan")
        def plan(version: str, snapshot: str) -> tuple[str | None, int]:
            champion = pipeline.opponent(registry.get(version))
            return champion, len(trial(version, snapshot, champion).plan.folds)

        @DBOS.step(name="fold")
        def fold(version: str, snapshot: str, champion: str | None, number: int) -> None:
            def progress(step: dict[str, Any]) -> None:
                log.info("judging %s: %s", version, _said(step))

            pipeline.fold(trial(version, snapshot, champion), number, progress)

        @DBOS.step(name="judge")
        def judge(version: str, snapshot: str, champion: str | None) -> tuple[bool, list[str]]:
            decision = pipeline.judge(trial(version, snapshot, champion))
            return decision.promoted, list(decision.reasons)

        @DBOS.step(name="unjudged")
        def unjudged(version: str, why: str) -> tuple[bool, list[str]]:
            decision = pipeline.unjudged(registry.get(version), why)
            return decision.promoted, list(decision.reasons)

        @DBOS.step(name="promote")
        def promote(project: int, version: str, reasons: list[str]) -> None:
            pipeline.promote(version, project, reasons, by="cytoloop")

        @DBOS.step(name="record")
        def record(version: str) -> bool:
            return record_in_child(version, settings)

        def improved(project: int) -> str:
            snapshot = take_snapshot(project)
            try:
                version = train(project, snapshot)
            except TrainingInterrupted:
                raise
            except (NothingToLearn, TrainingFailed) as error:
                projects.attempted(project, snapshot, str(error))
                log.error("project %s: not trained: %s", project, error)
                return str(error)
            try:
                champion, folds = plan(version, snapshot)
                for number in range(folds):
                    fold(version, snapshot, champion, number)
                promoted, reasons = judge(version, snapshot, champion)
            except TrainingInterrupted:
                raise
            except TrainingFailed as error:
                promoted, reasons = unjudged(version, str(error))
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

        @DBOS.workflow(name="improve")
        def improve(project: int) -> str:
            try:
                with self._runs():
                    said = improved(project)
            except (NotConnected, ProjectGone) as error:
                return self._forget(project, error)
            except TrainingInterrupted as error:
                return self._put_off("improve", project, error, _LONGEST)
            except (*_PASSING, ValueError) as error:
                return self._put_off("improve", project, error)
            self._done_well("improve", project)
            return said

        @DBOS.step(name="publish")
        def publish_step(project_id: int) -> str:
            project = projects.get(project_id)
            studio = Studio(project.url, project.token)
            source = ImageSource(
                project.url, project.token, media=settings.media, project=project_id
            )
            publisher = Publisher(project, projects, serving, registry, studio, source)
            return publisher.publish().version

        @DBOS.workflow(name="publish")
        def publish(project: int) -> str:
            try:
                with self._runs():
                    said = publish_step(project)
            except (NotConnected, ProjectGone) as error:
                return self._forget(project, error)
            except (*_PASSING, ValueError) as error:
                return self._put_off("publish", project, error)
            self._done_well("publish", project)
            return said

        self._workflows: dict[Kind, Any] = {"improve": improve, "publish": publish}

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

    def _put_off(
        self, kind: Kind, project: int, error: Exception, longest: float | None = None
    ) -> str:
        """The job could not be done now; its wish stays, and it waits a while."""
        if self.ending:
            # Its child was ended with us: it goes on at the next start, where it was.
            time.sleep(3600)
        longest = longest or self._settings.reconcile_seconds
        wait = min(FIRST_WAIT * GROWTH ** min(self._failures[kind, project], 9), longest)
        self._failures[kind, project] += 1
        what = "trained" if kind == "improve" else "published"
        said = " ".join(str(error).split("\n[SQL")[0].split())
        log.error("project %s: not %s: %s; again in %.0f s", project, what, said, wait)
        # On a full disk there may be no room for a note; the reconciliation leaves one then.
        with suppress(OSError, sqlite3.Error):
            self._projects.leave(project, "train" if kind == "improve" else "publish")
        now = time.time()
        self._waits[kind, project] = (now, now + wait)
        return str(error)

    def _forget(self, project: int, error: Exception) -> str:
        log.warning("project %s: %s; it is forgotten here", project, error)
        self._projects.forget(project)
        return str(error)

    def _done_well(self, kind: Kind, project: int) -> None:
        self._failures.pop((kind, project), None)
        self._waits.pop((kind, project), None)

    @contextmanager
    def _runs(self) -> Iterator[None]:
        number = str(DBOS.workflow_id)
        self._running.add(number)
        try:
            yield
        finally:
            self._running.discard(number)

    def revive(self) -> None:
        """Let jobs go on that stopped without a word, as on a full disk, where none can be said.

        To be called now and then: what stands still at two calls in a row is taken up again
        at its last finished step.
        """
        jobs = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        pending = {job.workflow_id: job.name for job in jobs}
        stopped = set(pending) - self._running
        for number in stopped & self._stopped:
            log.warning("a job to %s had stopped; it goes on", pending[number])
            DBOS.resume_workflow(number, queue_name=pending[number])
        self._stopped = stopped

    def tidy(self) -> None:
        """Forget jobs that ended long ago; there are some 300 a day for each project."""
        before = datetime.now(UTC) - timedelta(days=_DAYS_KEPT)
        old = DBOS.list_workflows(
            status=["SUCCESS", "ERROR"],
            completed_before=before.isoformat(),
            load_input=False,
            load_output=False,
            limit=1000,
        )
        if old:
            DBOS.delete_workflows([job.workflow_id for job in old])

    def waits(self, kind: Kind, project: int, asked: float | None = None) -> bool:
        """Is a job put off? asked: when a person asked for it, who is not kept waiting twice."""
        since, until = self._waits.get((kind, project), (0.0, 0.0))
        return time.time() < until and (asked is None or asked <= since)

    def busy(self, kind: Kind, project: int) -> bool:
        """Does a job of the kind wait or run for the project?"""
        jobs = DBOS.list_workflows(name=kind, status=["ENQUEUED", "PENDING"], load_output=False)
        return any(job.input and job.input["args"][0] == project for job in jobs)

    def enqueue(self, kind: Kind, project: int) -> bool:
        """Queue a job; False where one of its kind waits or runs for the project already."""
        if self.busy(kind, project):
            return False
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
