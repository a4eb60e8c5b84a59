"""The queue, on a real DBOS: each job once, what fails waits, what is gone is forgotten."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dbos import DBOS

from ml_backend.label_studio import session
from ml_backend.retraining.crew import Alone
from ml_backend.retraining.job_queue import JobQueue
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def queue(settings: Settings) -> Iterator[JobQueue]:
    queue = JobQueue(settings, Alone())
    queue.launch()
    yield queue
    DBOS.destroy()


@pytest.fixture
def silent_studio() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def until(is_true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.05)


def connect(settings: Settings, number: int, url: str) -> Projects:
    projects = Projects(settings.projects_database)
    projects.connect(Project(number, url, "legacy-token", "Away", "<View/>"))
    return projects


def test_a_job_waits_or_runs_once_for_a_project(
    queue: JobQueue, settings: Settings, silent_studio: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WAITS", (0.01,))
    connect(settings, 1, silent_studio)
    assert queue.enqueue("improve", 1)
    assert queue.is_busy("improve", 1)
    assert not queue.enqueue("improve", 1)
    # Another kind, and another project, are other jobs.
    assert not queue.is_busy("publish", 1) and not queue.is_busy("improve", 2)


def test_a_job_that_fails_is_put_off_with_its_note_left(
    queue: JobQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "WAITS", (0.01,))
    projects = connect(settings, 1, "http://127.0.0.1:9")
    assert queue.enqueue("improve", 1)
    until(lambda: not queue.is_busy("improve", 1))
    assert queue.is_put_off("improve", 1) and not queue.is_put_off("improve", 2)
    assert not queue.is_put_off("improve", 1, asked=time.time() + 1)
    assert [(project, note) for project, note, _, _ in projects.list_notes()] == [(1, "train")]
    # It is free to be queued again, with the same name.
    assert queue.enqueue("improve", 1)


def test_a_project_that_is_not_connected_is_forgotten(queue: JobQueue, settings: Settings) -> None:
    projects = Projects(settings.projects_database)
    projects.add_note(3, "train")
    assert queue.enqueue("publish", 3)
    until(lambda: not queue.is_busy("publish", 3))
    assert projects.list_notes() == [] and not queue.is_put_off("publish", 3)


def test_what_ended_long_ago_is_tidied_and_the_rest_stays(
    queue: JobQueue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queue.enqueue("publish", 3)
    until(lambda: not queue.is_busy("publish", 3))
    queue.tidy()
    assert len(DBOS.list_workflows()) == 1
    monkeypatch.setattr("ml_backend.retraining.job_queue.DAYS_KEPT", -1)
    queue.tidy()
    assert DBOS.list_workflows() == []
