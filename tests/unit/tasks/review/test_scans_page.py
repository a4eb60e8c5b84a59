"""The page of scans, over checkpoints as a scan writes them."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path

import pytest

from ml_backend.serving.app import create_app
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from tasks.detection.window_detector import NO_DETECTIONS, PlaneDetections
from tasks.review.checkpoint import Checkpoint, read_progress
from tasks.review.scans_page import list_scans


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    return tmp_path / "scans"


def write_checkpoint(path: Path) -> None:
    """Two files read, one begun with three windows, two tasks on their way."""
    with closing(Checkpoint(path)) as checkpoint:
        for mark in ("a", "b"):
            checkpoint.keep(mark, [PlaneDetections(0, 0, 64, 64, NO_DETECTIONS)])
        for left in (0, 10, 20):
            checkpoint.keep_window("c", 0, (left, 0, left + 10, 10), NO_DETECTIONS)
        checkpoint.mark_sending(["key 1", "key 2"])


def test_progress_counts_what_the_checkpoint_holds(scans: Path) -> None:
    path = scans / "1-abc.sqlite"
    write_checkpoint(path)
    progress = read_progress(path)
    assert (progress.files, progress.unfinished, progress.windows, progress.sending) == (2, 1, 3, 2)
    with closing(Checkpoint(path)) as checkpoint:
        checkpoint.keep("c", [PlaneDetections(0, 0, 64, 64, NO_DETECTIONS)])
        checkpoint.mark_arrived()
        # Read while the scan goes on.
        progress = read_progress(path)
    assert (progress.files, progress.unfinished, progress.windows, progress.sending) == (3, 0, 0, 0)


def test_reading_leaves_the_checkpoint_as_it_is(scans: Path) -> None:
    path = scans / "1-abc.sqlite"
    write_checkpoint(path)
    before = path.read_bytes()
    written = read_progress(path).written
    assert path.read_bytes() == before and list(scans.iterdir()) == [path]
    assert read_progress(path).written == written == path.stat().st_mtime
    with pytest.raises(OSError):
        read_progress(scans / "1-gone.sqlite")
    assert not (scans / "1-gone.sqlite").exists()


def test_scans_are_listed_the_newest_first_and_damaged_ones_last(scans: Path) -> None:
    assert list_scans(scans, {}) == []
    write_checkpoint(scans / "1-old.sqlite")
    os.utime(scans / "1-old.sqlite", (1_000_000, 1_000_000))
    write_checkpoint(scans / "2-new.sqlite")
    (scans / "3-damaged.sqlite").write_bytes(b"no database" * 100)
    new, old, damaged = list_scans(scans, {1: "Roots", 3: "Leaves"})
    assert (new.project, old.project, damaged.project) == ("Project 2", "Roots", "Leaves")
    assert (new.number, old.number, damaged.number) == (None, 1, 3)
    assert old.written.startswith("1970-01-")
    assert damaged.progress is None and "3-damaged.sqlite cannot be read" in damaged.problem


def test_the_server_shows_the_page_by_its_entry_point(tmp_path: Path, scans: Path) -> None:
    settings = Settings(data_dir=tmp_path, backend_password="password")
    Projects(settings.projects_database).connect(
        Project(1, "http://127.0.0.1:9", "token", "<b>Roots</b>", "<View/>")
    )
    client, asked = create_app(settings).test_client(), {"Accept": "text/html"}
    assert client.get("/scans/").status_code == 401
    answer = client.get("/scans/", headers=asked)  # a browser is led to the login
    assert answer.status_code == 303 and answer.location.startswith("/login")
    login = (settings.backend_user, "password")
    assert "No scan was sent" in client.get("/scans/", auth=login, headers=asked).text
    write_checkpoint(scans / "1-abc.sqlite")
    page = client.get("/scans/", auth=login, headers=asked)
    assert page.status_code == 200 and "default-src" in page.headers["Content-Security-Policy"]
    assert "&lt;b&gt;Roots&lt;/b&gt;" in page.text and "<b>" not in page.text
    cells = re.findall(r'<td class="number">(\d+)</td>', page.text)
    assert cells == ["2", "1", "3", "2"]
    assert '<a href="/scans/">Scans</a>' in client.get("/", auth=login, headers=asked).text
