"""The durable jobs: improve a project, publish its champion.

DBOS keeps which steps of a job are finished, by their names and order, and takes a job that was
killed up again after the last of them. So both stay as they are: a data folder may hold jobs of
an earlier release.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from dbos import DBOS

from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.label_studio.session import STUDIO_ERRORS, ProjectGone
from ml_backend.learners.base import ExportFailed, TrainingFailed, TrainingInterrupted
from ml_backend.promotion.comparison import Comparison
from ml_backend.registry.versions import Registry
from ml_backend.retraining.collect import open_collector
from ml_backend.retraining.mlflow_log import record_in_child
from ml_backend.retraining.pipeline import Pipeline
from ml_backend.retraining.train_version import NothingToLearn
from ml_backend.serving.model_cache import ModelCache
from ml_backend.serving.publish import Publisher
from ml_backend.settings import Settings
from ml_backend.state.projects import NotConnected, Note, Projects
from ml_backend.system.database import DatabaseError, describe_fault
from ml_backend.system.retry import grow_wait

log = logging.getLogger(__name__)

Kind = Literal["improve", "publish"]

# What passes by itself or by a person's hand: Label Studio away, its token refused, the disk full.
# The job ends with one line in the log; its note stays, and it is done again after 1, 4, 16 …
# minutes, at most as long as between two reconciliations. What it did so far is not lost: the
# steps that it finished find their results again.
_PASSING = (*STUDIO_ERRORS, ExportFailed, OSError, DatabaseError, ValueError)
FIRST_WAIT, GROWTH = 60.0, 4.0
# A training that is killed again and again takes the machine for nothing: it is tried less often.
LONGEST_WAIT_OF_KILLED = 4 * 3600.0

# By kind: the note that asks for the job, and what did not happen when it failed.
_NOTES: dict[Kind, Note] = {"improve": "train", "publish": "publish"}
_DONE: dict[Kind, str] = {"improve": "trained", "publish": "published"}


class JobContext:
    """What the jobs of this process share: the data folder, and how their work goes on."""

    def open(self, settings: Settings) -> None:
        """Open a data folder for the jobs; nothing is there before."""
        self.settings = settings
        self.projects = Projects(settings.projects_database)
        self.registry = Registry.open(settings)
        self.collector = open_collector(settings, self.projects, self.registry)
        self.pipeline = Pipeline(settings, self.projects, self.registry)
        self.serving = ModelCache(settings, self.registry)
        # The workflows, by DBOS's id, that run in this process.
        self.running: set[str] = set()
        # Set when the process is about to end, and with it the children of its jobs.
        self.is_ending = False


# Opened before DBOS is launched. DBOS calls the functions below with what it keeps of a job in its
# database, names and numbers, so they find the rest here.
context = JobContext()


# The steps of an improvement, in this order: snapshot, train, plan, each fold, judge (or
# unjudged), promote where the candidate won, record.


@DBOS.step(name="snapshot")
def take_snapshot(project: int) -> str:
    """Read the project's corrections from Label Studio; return the snapshot's name."""
    return context.collector.take_snapshot(project).name


@DBOS.step(name="train")
def train(project: int, snapshot: str) -> str:
    """Train on the snapshot; return the candidate's name."""

    def tell(progress: dict[str, Any]) -> None:
        log.info("project %s: training %s", project, _describe(progress))

    corrections = context.collector.load_snapshot(snapshot)
    return context.pipeline.train(corrections, progress=tell).name


@DBOS.step(name="plan")
def plan_folds(version: str, snapshot: str) -> tuple[str | None, int]:
    """Return the champion to compare with (None where there is none) and the number of folds."""
    champion = context.pipeline.find_opponent(context.registry.get(version))
    return champion, len(_open_comparison(version, snapshot, champion).plan.folds)


@DBOS.step(name="fold")
def judge_fold(version: str, snapshot: str, champion: str | None, number: int) -> None:
    """Train and ask the models of the folds, all beside each other in the first of these steps.

    There is a step for each fold, `number` from 0: jobs of an earlier release did one in each, and
    what they did is not done again.
    """

    def tell(progress: dict[str, Any]) -> None:
        log.info("judging %s: %s", version, _describe(progress))

    context.pipeline.judge_folds(_open_comparison(version, snapshot, champion), tell)


@DBOS.step(name="judge")
def judge(version: str, snapshot: str, champion: str | None) -> tuple[bool, list[str]]:
    """Compare candidate and champion; return whether it is promoted, and why."""
    decision = context.pipeline.judge(_open_comparison(version, snapshot, champion))
    return decision.promoted, list(decision.reasons)


@DBOS.step(name="unjudged")
def keep_unjudged(version: str, why: str) -> tuple[bool, list[str]]:
    """Keep why a candidate could not be judged; return as `judge` does."""
    decision = context.pipeline.keep_unjudged(context.registry.get(version), why)
    return decision.promoted, list(decision.reasons)


@DBOS.step(name="promote")
def promote(project: int, version: str, reasons: list[str]) -> None:
    """Make the candidate the champion, and leave a note to publish it."""
    context.pipeline.promote(version, project, reasons, by="cytoloop")


@DBOS.step(name="record")
def record(version: str) -> bool:
    """Record the candidate in MLflow; return whether that went well."""
    return record_in_child(version, context.settings)


@DBOS.step(name="publish")
def publish_champion(project_id: int) -> str:
    """Bring the project's pre-annotations to its champion; return the version's name."""
    project = context.projects.get(project_id)
    studio = Studio(project.url, project.token)
    source = ImageSource(
        project.url, project.token, media=context.settings.media, project=project_id
    )
    publisher = Publisher(
        project, context.projects, context.serving, context.registry, studio, source
    )
    return publisher.publish().version


# The workflows. They return what came of them in one line, which DBOS keeps.


@DBOS.workflow(name="improve")
def improve(project: int) -> str:
    """Train a candidate on a project's corrections, judge it, and promote it where it is better."""
    return _run("improve", project, _improve)


@DBOS.workflow(name="publish")
def publish(project: int) -> str:
    """Publish a project's champion to Label Studio."""
    return _run("publish", project, publish_champion)


WORKFLOWS: dict[Kind, Callable[[int], str]] = {"improve": improve, "publish": publish}


def _improve(project: int) -> str:
    snapshot = take_snapshot(project)
    try:
        version = train(project, snapshot)
    except TrainingInterrupted:
        raise
    except (NothingToLearn, TrainingFailed) as error:
        context.projects.record_attempt(project, snapshot, str(error))
        log.error("project %s: not trained: %s", project, error)
        return str(error)
    try:
        champion, folds = plan_folds(version, snapshot)
        for number in range(folds):
            judge_fold(version, snapshot, champion, number)
        promoted, reasons = judge(version, snapshot, champion)
    except TrainingInterrupted:
        raise
    except TrainingFailed as error:
        promoted, reasons = keep_unjudged(version, str(error))
    if promoted:
        promote(project, version, reasons)
    context.projects.record_attempt(project, snapshot, reasons[0])
    log.info(
        "project %s: %s %s: %s",
        project,
        version,
        "is the new champion" if promoted else "was not promoted",
        "; ".join(reasons),
    )
    record(version)
    return reasons[0]


def _run(kind: Kind, project: int, act: Callable[[int], str]) -> str:
    """Do a job's steps; forget a project that is gone, put off what may go well another time."""
    workflow = str(DBOS.workflow_id)
    context.running.add(workflow)
    try:
        outcome = act(project)
    except (NotConnected, ProjectGone) as error:
        log.warning("project %s: %s; it is forgotten here", project, error)
        context.projects.forget(project)
        return str(error)
    except (TrainingInterrupted, *_PASSING) as error:
        put_off(kind, project, error)
        return str(error)
    finally:
        context.running.discard(workflow)
    with suppress(OSError, DatabaseError):
        context.projects.clear_trouble(project, kind)
    return outcome


def put_off(kind: Kind, project: int, error: Exception) -> None:
    """Leave a job that could not be done for later: say so, and leave its note again.

    Does not return where the process is ending: the job then stays open in DBOS, and goes on at
    the next start where it was.

    Args:
        kind: The job.
        project: The project's number in Label Studio.
        error: What stopped it.
    """
    if context.is_ending:
        threading.Event().wait()
    # Before the failure, so that its time is not taken for that of a person who asks after it. On a
    # full disk there may be no room for a note; the reconciliation leaves one then.
    with suppress(OSError, DatabaseError):
        context.projects.add_note(project, _NOTES[kind])
    killed = isinstance(error, TrainingInterrupted)
    longest = LONGEST_WAIT_OF_KILLED if killed else context.settings.reconcile_seconds
    wait = min(FIRST_WAIT, longest)
    reason = describe_fault(error)
    with suppress(OSError, DatabaseError):
        failures = context.projects.count_failures(project, kind)
        wait = grow_wait(FIRST_WAIT, GROWTH, failures, longest)
        context.projects.keep_trouble(project, kind, reason, wait)
    log.error("project %s: not %s: %s; again in %.0f s", project, _DONE[kind], reason, wait)


def _open_comparison(version: str, snapshot: str, champion: str | None) -> Comparison:
    candidate = context.registry.get(version)
    return context.pipeline.open_comparison(
        candidate, context.collector.load_snapshot(snapshot), champion
    )


def _describe(progress: dict[str, Any]) -> str:
    """A line of the training's progress, in words."""
    plain = {key: value for key, value in progress.items() if isinstance(value, int | float | str)}
    return ", ".join(f"{key} {value}" for key, value in plain.items())
