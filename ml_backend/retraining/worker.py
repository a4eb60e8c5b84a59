"""The worker: follows the server's notes, asks Label Studio what changed, starts the jobs.

One worker a data folder, or several on PostgreSQL, of which one leads (see `crew`). A note is a
hint: how many tasks were corrected is counted in Label Studio.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import psutil

from ml_backend.counting.project import count_drawn
from ml_backend.counting.records import to_json
from ml_backend.counting.sample import SampleStore
from ml_backend.dataset.consensus import collect_submissions
from ml_backend.dataset.snapshot import count_corrected_since
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.label_studio.session import STUDIO_ERRORS, ProjectGone
from ml_backend.promotion.rollback import RollbackWatch
from ml_backend.registry.versions import Registry
from ml_backend.retraining.annotators import note_annotators
from ml_backend.retraining.collect import open_collector
from ml_backend.retraining.crew import Crew, join_crew
from ml_backend.retraining.job_queue import JobQueue
from ml_backend.retraining.polling import Poller
from ml_backend.serving.model_cache import ModelCache
from ml_backend.settings import Settings
from ml_backend.state import training_progress
from ml_backend.state.projects import NotConnected, Note, Projects
from ml_backend.system.atomic_files import sweep
from ml_backend.system.database import DatabaseError, describe_fault
from ml_backend.system.printable import configure_logging
from ml_backend.system.retry import Backoff

log = logging.getLogger(__name__)

# A burst of notes is waited out, but never for longer than this many quiet periods.
_LONGEST_BURST = 10
# After Label Studio could not be asked, so many seconds pass before the next try, doubled
# with every failure until they reach the time between two reconciliations.
FIRST_WAIT = 10.0


def work(settings: Settings) -> None:
    """Work until ended by a signal; the process ends with it.

    Raises:
        WorkerRunning: Another worker holds the data folder, without PostgreSQL.
        DatabaseError: PostgreSQL does not answer.
    """
    configure_logging(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with join_crew(settings) as crew:
        Worker(settings, crew).run()


class Worker:
    """The loop of one worker."""

    def __init__(self, settings: Settings, crew: Crew) -> None:
        """Open the data folder; nothing runs before `run`."""
        self._settings = settings
        self._crew = crew
        self._projects = Projects(settings.projects_database)
        registry = Registry.open(settings)
        self._collector = open_collector(settings, self._projects, registry)
        self._rollback_watch = RollbackWatch(self._projects, registry)
        self._serving = ModelCache(settings, registry)
        self._queue = JobQueue(settings, crew)
        self._poller = Poller(self._projects)
        self._ended = threading.Event()
        # Projects whose Label Studio could not be asked.
        self._backoff = Backoff[int](FIRST_WAIT, 2.0)
        self._reconciled = float("-inf")
        # The time of the last change after which each project's drawn queue was looked at.
        self._looked_at: dict[int, float] = {}

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; does not return."""
        self._end_on_signals()
        self._remove_leftovers()
        self._queue.launch()
        log.info("worker started on %s", self._settings.data_dir)
        while not self._ended.wait(self._settings.poll_seconds):
            try:
                leads = self._crew.leads()
                if self._queue.has_lost_jobs():
                    log.error("another worker has taken over a job of this one")
                    break
                self._reconcile(leads)
                if leads:
                    self._queue.take_over()
                    self._poll()
                    self._follow_notes()
            except (OSError, DatabaseError) as error:
                log.error(
                    "the data folder %s cannot be used: %s; trying again in %.0f s",
                    self._settings.data_dir,
                    describe_fault(error),
                    FIRST_WAIT,
                )
                self._ended.wait(FIRST_WAIT)
        self._end()

    def _end_on_signals(self) -> None:
        def end(number: int, frame: FrameType | None) -> None:
            self._ended.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)

    def _remove_leftovers(self) -> None:
        """Remove what processes that were killed left behind."""
        settings = self._settings
        self._projects.end_waits()
        if self._crew.leads():
            training_progress.forget(settings.progress)
        for folder in (
            settings.versions,
            settings.champions,
            settings.snapshots,
            settings.images,
            settings.training,
        ):
            sweep(folder)

    def _end(self) -> None:
        """End the process, now: a job that runs may be a training, and goes on at the next start.

        To wait for it could take as long as the training, so its child is ended too.
        """
        log.info("worker ends")
        self._queue.announce_end()
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        logging.shutdown()
        os._exit(0)

    def _reconcile(self, leads: bool) -> None:
        """Look at every project now and then, because webhooks get lost by design.

        Args:
            leads: Whether this worker does so for all; else it looks after its own jobs only.
        """
        if time.monotonic() - self._reconciled < self._settings.reconcile_seconds:
            return
        self._queue.revive()
        if leads:
            self._note_all()
        self._reconciled = time.monotonic()

    def _note_all(self) -> None:
        self._queue.tidy()
        for project in self._projects.list_projects():
            self._projects.add_note(project.id, "changed")
            self._projects.add_note(project.id, "publish")

    def _poll(self) -> None:
        """Ask what changed in projects whose Label Studio tells nothing."""
        for project in self._projects.list_projects():
            if self._poller.is_due(project) and not self._backoff.is_waiting(project.id):
                with self._putting_off(project.id):
                    self._poller.ask(project)

    def _follow_notes(self) -> None:
        """Act on every note that is due, and remove those that are dealt with."""
        for project, note, first, last in self._projects.list_notes():
            if self._backoff.is_waiting(project) or self._is_burst(note, first, last):
                continue
            with self._putting_off(project):
                try:
                    if self._act_on(project, note, last):
                        self._projects.remove_note(project, note, last)
                    self._backoff.succeed(project)
                except NotConnected:
                    self._projects.remove_note(project, note, last)

    @contextmanager
    def _putting_off(self, project: int) -> Iterator[None]:
        """Put a project off whose Label Studio cannot be asked; forget one that is gone there."""
        try:
            yield
        except ProjectGone as gone:
            log.warning("project %s: %s; it is forgotten here", project, gone)
            self._projects.forget(project)
        except (*STUDIO_ERRORS, ValueError) as error:
            wait = self._backoff.fail(project, self._settings.reconcile_seconds)
            log.warning("project %s: %s; trying again in %.0f s", project, error, wait)

    def _is_burst(self, note: Note, first: float, last: float) -> bool:
        """Tell whether more changes may follow at once, so that acting now would be too early.

        Args:
            note: Its kind.
            first: When it was left first (seconds since 1970).
            last: When it was left again last.
        """
        quiet, now = self._settings.quiet_seconds, time.time()
        return note == "changed" and now - last < quiet and now - first < _LONGEST_BURST * quiet

    def _act_on(self, project: int, note: Note, left: float) -> bool:
        """Start the job that a note asks for, if any.

        Args:
            project: The project's number in Label Studio.
            note: Its kind.
            left: When it was left last (seconds since 1970).

        Returns:
            Whether the note is dealt with; False where it must wait for a job that runs or is
            put off.

        Raises:
            NotConnected: The project is not one of this data folder.
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
        """
        if note == "publish":
            return not self._queue.is_put_off("publish", project) and self._queue.enqueue(
                "publish", project
            )
        if note == "changed" and self._looked_at.get(project) != left:
            self._draw_ahead(project)
            self._looked_at[project] = left
        asked = left if note == "train" else None
        if self._queue.is_put_off("improve", project, asked):
            return False
        if self._queue.is_busy("improve", project):
            return False
        # Asked first whatever the note: where Label Studio does not answer, the note stays.
        connected = self._projects.get(project)
        tasks = list(self._collector.read_annotated_tasks(connected))
        self._rollback_watch.watch(connected, tasks)
        submissions = collect_submissions(tasks)
        labels = parse_labels(connected.label_config)
        note_annotators(self._projects, project, submissions, labels)
        self._note_estimate(project, tasks, labels)
        if note == "train":
            log.info("project %s: training was asked for", project)
            return self._queue.enqueue("improve", project)
        corrected = count_corrected_since(submissions, self._collector.load_last_snapshot(project))
        if corrected < self._settings.retrain_after:
            return True
        log.info("project %s: %d tasks corrected since the last training", project, corrected)
        return self._queue.enqueue("improve", project)

    def _draw_ahead(self, project: int) -> None:
        """Let the project's queue be drawn further, where it is drawn and comes to its end.

        It does not wait for a training: people go on reviewing meanwhile.
        """
        connected = self._projects.get(project)
        drawer = self._serving.open_drawer(
            self._projects, connected, Studio(connected.url, connected.token)
        )
        if drawer is not None and drawer.is_drained():
            self._projects.add_note(project, "publish")

    def _note_estimate(
        self, project: int, annotated: Sequence[dict[str, Any]], labels: LabelingConfig
    ) -> None:
        """Keep what the project holds in all, for the pages; nothing where it was not drawn."""
        store = SampleStore(self._settings.samples_database)
        there = {*store.read_claims(project), *(task["id"] for task in annotated)}
        policy = self._settings.annotators
        if found := count_drawn(project, annotated, there, labels, policy, store):
            self._projects.keep_estimate(project, to_json(found))
