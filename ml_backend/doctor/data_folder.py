"""Checks of the data folder: its databases, its worker, what waits there, and its logs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from ml_backend.doctor.finding import Check, Finding
from ml_backend.doctor.log_errors import find_last_error
from ml_backend.registry.object_store import ObjectStore
from ml_backend.retraining.crew import is_worker_running
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.state.training_progress import list_trainings
from ml_backend.system.atomic_files import NotWritable, check_data_folder
from ml_backend.system.database import Address, DatabaseError, describe_fault, is_there
from ml_backend.system.locks import is_locked
from ml_backend.system.plurals import format_count

# Where each database keeps its version: a query for it; None where it has none.
_DATABASES = {
    "projects.sqlite": None,
    "jobs.sqlite": "select max(version) from dbos_migrations",
    "samples.sqlite": None,
    "mlflow.sqlite": "select version_num from alembic_version",
}
# A note that waits longer, in seconds, although a worker runs, is stuck; a training that tells
# nothing for so long has stopped.
STUCK = 1800.0
# Of each log, the last bytes are read.
_TAIL = 400_000


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Look whether the data folder can be written."""
    try:
        check_data_folder(settings.data_dir)
    except NotWritable as error:
        yield Finding("error", str(error), f"chown the folder {settings.data_dir} to this user")
        return
    yield Finding("ok", f"{settings.data_dir} can be written")


def check_databases(settings: Settings) -> Iterator[Finding]:
    """Look whether the databases are sound, and read their versions."""
    if settings.database_url is not None:
        yield _check_server(settings.projects_database)
    for name, query in _DATABASES.items():
        path = settings.data_dir / name
        if not path.exists():
            continue
        try:
            with closing(sqlite3.connect(path.as_uri() + "?mode=ro", uri=True)) as database:
                state = database.execute("pragma quick_check(1)").fetchone()[0]
                found = database.execute(query).fetchone()[0] if query else ""
        except sqlite3.Error as error:
            state, found = str(error), ""
        if state == "ok":
            yield Finding("ok", f"{name} is sound{f', version {found}' if found else ''}")
        else:
            yield Finding(
                "error",
                f"{name} is damaged: {state}",
                f"end cytoloop, then cytoloop restore a backup; without one move {path} away: "
                "it is made anew, and cytoloop connect connects the projects again",
            )


def _check_server(address: Address) -> Finding:
    try:
        known = len(Projects(address).list_projects())
    except DatabaseError as error:
        return Finding(
            "error",
            f"PostgreSQL cannot be used: {describe_fault(error)}",
            "start it, and see that CYTOLOOP_DATABASE_URL has its address, user and password",
        )
    return Finding("ok", f"PostgreSQL answers; {format_count(known, 'project')} connected")


def check_store(settings: Settings) -> Iterator[Finding]:
    """Look whether the bucket of the versions can be written, where there is one."""
    if settings.store_url is None:
        return
    try:
        store = ObjectStore(settings.store_url)
        store.try_out()
        known = len(store.list_marks("versions"))
    except (OSError, ValueError) as error:
        yield Finding(
            "error",
            str(error),
            "see that CYTOLOOP_STORE_URL has its address, and AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY are those of a user who may write there",
        )
        return
    yield Finding("ok", f"{settings.store_url} can be written; {format_count(known, 'version')}")


def check_worker(settings: Settings) -> Iterator[Finding]:
    """Look whether a worker runs."""
    if is_worker_running(settings):
        yield Finding("ok", "a worker runs")
        return
    if is_locked(settings.data_dir / "up.lock"):
        yield Finding("note", "cytoloop up runs, and its worker is about to start", "ask again")
        return
    connected = is_there(settings.projects_database) and bool(
        Projects(settings.projects_database).list_projects()
    )
    yield Finding(
        "error" if connected else "note",
        "no worker runs on this data folder, so nothing is pre-annotated or trained",
        f"cytoloop --data-dir {settings.data_dir} worker, or cytoloop up",
    )


def check_queue(settings: Settings) -> Iterator[Finding]:
    """Look whether what the worker has to do waits too long."""
    if not is_there(settings.projects_database) or not is_worker_running(settings):
        return
    trainings = list_trainings(settings.progress)
    now = time.time()
    for training in trainings:
        if now - training.told > STUCK:
            yield Finding(
                "warning",
                f"the training for project {training.project} has told nothing for "
                f"{_describe_age(now - training.told)}",
                "end the worker and start it again: the training goes on at its last step",
            )
    notes = Projects(settings.projects_database).list_notes()
    for project, note, first, _ in notes:
        busy = note == "train" and trainings
        if now - first > STUCK and not busy:
            yield Finding(
                "warning",
                f"{note!r} of project {project} has waited for {_describe_age(now - first)}",
                f"the last lines about project {project} in {settings.logs / 'worker.log'} say "
                "why; end the worker and start it again",
            )
    if not trainings and not any(now - first > STUCK for *_, first, _ in notes):
        yield Finding("ok", f"nothing is stuck; {len(notes)} notes wait for the worker")


def check_logs(settings: Settings) -> Iterator[Finding]:
    """Say what the last error of each log means."""
    for path in sorted(settings.logs.glob("*.log")):
        error = find_last_error(read_tail(path))
        if error is None:
            continue
        recent = error.at is not None and datetime.now() - error.at < timedelta(hours=1)
        seen = f"the last error in {path}: {error.line}"
        if error.meaning is None:
            yield Finding("warning" if recent else "note", seen)
        else:
            yield Finding(
                "warning" if recent else "note",
                f"{seen} (it means: {error.meaning.means})",
                error.meaning.mend,
            )


def read_tail(path: Path) -> list[str]:
    """Read the last lines of a log."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        return file.read().decode("utf-8", "replace").splitlines()


def _describe_age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


CHECKS = (
    Check("data folder", check_folder),
    Check("databases", check_databases),
    Check("store of versions", check_store),
    Check("worker", check_worker),
    Check("queue", check_queue),
    Check("logs", check_logs),
)
