"""The worker: follows the server's notes, asks Label Studio what changed, starts the jobs.

One worker a data folder, held by a lock. A note is a hint: how many tasks were
corrected is counted in Label Studio.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import suppress
from types import FrameType

import psutil
from filelock import FileLock, Timeout
from sqlalchemy.exc import SQLAlchemyError

from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.snapshot import count_corrected_since
from ml_backend.label_studio.session import STUDIO_ERRORS, ProjectGone
from ml_backend.promotion.rollback import RollbackWatch
from ml_backend.registry.versions import Registry
from ml_backend.retraining.collect import open_submissions
from ml_backend.retraining.jobs import Jobs
from ml_backend.settings import Settings
from ml_backend.state import training_progress
from ml_backend.state.projects import NotConnected, Note, Projects
from ml_backend.system.atomic_files import sweep

log = logging.getLogger(__name__)

# A burst of notes is waited out, but never for longer than this many quiet periods.
_PATIENCE = 10
# After Label Studio could not be asked, so many seconds pass before the next try, doubled
# with every failure until they reach the time between two reconciliations.
_BACK_OFF = 10.0


class WorkerRunning(RuntimeError):
    """Another worker holds this data folder."""


def work(settings: Settings) -> None:
    """Work until ended. Raises WorkerRunning where another worker is at it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.data_dir / "worker.lock", timeout=0):
            Worker(settings).run()
    except Timeout:
        raise WorkerRunning(f"a worker is running on {settings.data_dir} already") from None


class Worker:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._projects = Projects(settings.projects_database)
        registry = Registry(settings.versions, settings.champions)
        self._submissions = open_submissions(settings, self._projects, registry)
        self._aftermath = RollbackWatch(self._projects, registry)
        self._jobs = Jobs(settings)
        self._ended = threading.Event()
        self._not_before: dict[int, float] = {}
        self._failures: Counter[int] = Counter()
        self._reconciled = float("-inf")

    def run(self) -> None:
        def end(number: int, frame: FrameType | None) -> None:
            self._ended.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        training_progress.forget(self._settings.progress)
        here = self._settings
        for folder in (here.versions, here.champions, here.snapshots, here.images, here.training):
            sweep(folder)
        self._jobs.launch()
        log.info("worker started on %s", self._settings.data_dir)
        while not self._ended.wait(self._settings.poll_seconds):
            try:
                self._reconcile()
                self._follow_notes()
            except (OSError, sqlite3.Error, SQLAlchemyError) as error:
                log.error(
                    "the data folder %s cannot be used: %s; trying again in %.0f s",
                    self._settings.data_dir,
                    str(error).splitlines()[0],
                    _BACK_OFF,
                )
                self._ended.wait(_BACK_OFF)
        # Jobs are durable: one that runs now goes on at the next start. Waiting for it
        # could take as long as a training, so its child ends, and so do we.
        log.info("worker ends")
        self._jobs.ending = True
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        logging.shutdown()
        os._exit(0)

    def _reconcile(self) -> None:
        """Webhooks get lost by design, so every project is looked at now and then."""
        if time.monotonic() - self._reconciled < self._settings.reconcile_seconds:
            return
        self._jobs.revive()
        self._jobs.tidy()
        for project in self._projects.all():
            self._projects.leave(project.id, "changed")
            self._projects.leave(project.id, "publish")
        self._reconciled = time.monotonic()

    def _follow_notes(self) -> None:
        for project, note, first, last in self._projects.notes():
            if time.monotonic() < self._not_before.get(project, 0):
                continue
            quiet = self._settings.quiet_seconds
            now = time.time()
            if note == "changed" and now - last < quiet and now - first < _PATIENCE * quiet:
                continue
            try:
                if self._acted(project, note, last):
                    self._projects.take(project, note, last)
                self._failures.pop(project, None)
            except NotConnected:
                self._projects.take(project, note, last)
            except ProjectGone as gone:
                log.warning("project %s: %s; it is forgotten here", project, gone)
                self._projects.forget(project)
            except (*STUDIO_ERRORS, ValueError) as error:
                wait = _BACK_OFF * 2.0 ** min(self._failures[project], 9)
                wait = min(wait, self._settings.reconcile_seconds)
                log.warning("project %s: %s; trying again in %.0f s", project, error, wait)
                self._failures[project] += 1
                self._not_before[project] = time.monotonic() + wait

    def _acted(self, project: int, note: Note, left: float) -> bool:
        """Act on a note left at that time; False where it must wait, for a job that is at it."""
        if note == "publish":
            if self._jobs.waits("publish", project):
                return False
            return self._jobs.enqueue("publish", project)
        asked = left if note == "train" else None
        if self._jobs.waits("improve", project, asked) or self._jobs.busy("improve", project):
            return False
        # Asked first whatever the note: where Label Studio does not answer, the note stays.
        found = self._projects.get(project)
        tasks = list(self._submissions.annotated(found))
        self._aftermath.watch(found, tasks)
        if note == "train":
            log.info("project %s: training was asked for", project)
            return self._jobs.enqueue("improve", project)
        new = count_corrected_since(
            collect_submissions(tasks), self._submissions.last_snapshot(project)
        )
        if new < self._settings.retrain_after:
            return True
        log.info("project %s: %d tasks corrected since the last training", project, new)
        return self._jobs.enqueue("improve", project)
