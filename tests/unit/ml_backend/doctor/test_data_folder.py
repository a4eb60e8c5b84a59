"""The checks of a data folder: sound, damaged, without a worker, with what waits too long."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from ml_backend.doctor import data_folder
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.state.training_progress import tell_progress
from tests.s3 import make_bucket

FIXTURE = Path(__file__).parents[3] / "fixtures" / "data_folder_0_1" / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data_dir=tmp_path)
    Projects(settings.projects_database).connect(Project(1, "http://x", "t", "Cells", "<View/>"))
    return settings


@contextmanager
def working(settings: Settings, lock: str = "worker.lock") -> Iterator[None]:
    """Another process that holds the lock of the worker, or of `up`."""
    program = (
        "import sys, filelock\n"
        "with filelock.FileLock(sys.argv[1]):\n    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(settings.data_dir / lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == b"held"
    try:
        yield
    finally:
        holder.communicate(timeout=10)


def test_databases_are_read_with_their_versions(settings: Settings) -> None:
    with closing(sqlite3.connect(settings.jobs_database)) as database:
        database.executescript((FIXTURE / "jobs.sql").read_text(encoding="utf-8"))
    findings = list(data_folder.check_databases(settings))
    assert [finding.severity for finding in findings] == ["ok", "ok"]
    assert "jobs.sqlite is sound, version 125" in findings[1].seen


def test_a_shared_database_answers_or_the_mend_is_told(
    settings: Settings, postgres_address: str
) -> None:
    shared = settings.model_copy(update={"database_url": postgres_address})
    (fine, *_) = data_folder.check_databases(shared)
    assert (fine.severity, fine.seen) == ("ok", "PostgreSQL answers; 0 projects connected")
    away = settings.model_copy(update={"database_url": "postgresql://me:word@127.0.0.1:9/none"})
    (error, *_) = data_folder.check_databases(away)
    assert error.severity == "error" and "Connection refused" in error.seen
    assert "CYTOLOOP_DATABASE_URL" in error.mend and "word" not in error.seen


def test_a_bucket_can_be_written_or_the_mend_is_told(settings: Settings, s3: str) -> None:
    assert list(data_folder.check_store(settings)) == []
    make_bucket(s3, "examined")
    shared = settings.model_copy(update={"store_url": "s3://examined/lab"})
    (fine,) = data_folder.check_store(shared)
    assert (fine.severity, fine.seen) == ("ok", "s3://examined/lab can be written; 0 versions")
    away = settings.model_copy(update={"store_url": "s3://never-made/lab"})
    (error,) = data_folder.check_store(away)
    assert error.severity == "error" and "s3://never-made/lab cannot be written" in error.seen
    assert "AWS_ENDPOINT_URL" in error.mend


def test_a_damaged_database_is_an_error_and_the_others_are_still_read(settings: Settings) -> None:
    settings.jobs_database.write_bytes(b"this is no database" * 1000)
    sound, damaged = data_folder.check_databases(settings)
    assert sound.severity == "ok" and damaged.severity == "error"
    assert "jobs.sqlite is damaged" in damaged.seen and "restore" in damaged.mend


def test_a_worker_that_does_not_run_is_an_error_once_a_project_is_connected(
    settings: Settings, tmp_path: Path
) -> None:
    (finding,) = data_folder.check_worker(settings)
    assert finding.severity == "error" and f"--data-dir {settings.data_dir} worker" in finding.mend
    (finding,) = data_folder.check_worker(Settings(data_dir=tmp_path / "new"))
    assert finding.severity == "note"
    with working(settings):
        (finding,) = data_folder.check_worker(settings)
        assert finding.severity == "ok"
    with working(settings, "up.lock"):
        (finding,) = data_folder.check_worker(settings)
        assert finding.severity == "note" and "about to start" in finding.seen


def test_what_waits_too_long_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    projects = Projects(settings.projects_database)
    projects.add_note(1, "publish")
    with working(settings):
        (finding,) = data_folder.check_queue(settings)
        assert finding.severity == "ok" and "1 notes wait" in finding.seen
        monkeypatch.setattr(data_folder, "STUCK", 0.2)
        time.sleep(0.3)
        (finding,) = data_folder.check_queue(settings)
        assert finding.severity == "warning" and "'publish' of project 1" in finding.seen
        with tell_progress(settings.progress, "1", lambda step: None):
            time.sleep(0.3)
            findings = list(data_folder.check_queue(settings))
            assert any("training for project 1 has told nothing" in f.seen for f in findings)


def test_the_last_error_of_each_log_is_explained(settings: Settings) -> None:
    settings.logs.mkdir()
    (settings.logs / "worker.log").write_text(
        f"{time.strftime('%Y-%m-%d %H:%M:%S')},000 ERROR the disk is full, x was not written\n"
    )
    (settings.logs / "serve.log").write_text("2026-01-01 00:00:00,000 ERROR strange\n")
    (settings.logs / "label-studio.log").write_text("all well\n")
    old, recent = data_folder.check_logs(settings)
    assert old.severity == "note" and "strange" in old.seen
    assert recent.severity == "warning" and "the disk was full" in recent.seen
    assert recent.mend.startswith("make room")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    (finding,) = data_folder.check_folder(Settings(data_dir=tmp_path / "file" / "data"))
    assert finding.severity == "error" and "--data-dir" in finding.seen
