"""The data folder is its owner's alone, made now or found as it was."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.credentials import read_backend_password
from ml_backend.system.private_files import close_data_folder, create_private

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The most careless one: what is private is made so, whatever the user's is."""
    earlier = os.umask(0)
    yield
    os.umask(earlier)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    close_data_folder(tmp_path / "a" / "data")
    assert mode(tmp_path / "a" / "data") == 0o700


def test_a_folder_that_was_open_is_closed_with_its_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    secrets = [
        "projects.sqlite", "projects.sqlite-wal", "jobs.sqlite", "mlflow.sqlite", "backend.json",
        "label-studio/account.json", "label-studio/data/label_studio.sqlite3",
        "label-studio/data/label_studio.sqlite3-wal", "logs/worker.log",
    ]  # fmt: skip
    for name in secrets:
        (folder / name).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        (folder / name).write_text("secret")
        (folder / name).chmod(0o664)
    (folder / "media").mkdir(mode=0o755)
    folder.chmod(0o755)
    close_data_folder(folder)
    assert mode(folder) == 0o700 and mode(folder / "media") == 0o700
    assert {name: mode(folder / name) for name in secrets} == dict.fromkeys(secrets, 0o600)


def test_a_link_in_the_folder_changes_nothing_outside(tmp_path: Path) -> None:
    outside, folder = tmp_path / "shared.json", tmp_path / "data"
    outside.write_text("{}")
    outside.chmod(0o644)
    folder.mkdir()
    (folder / "link.json").symlink_to(outside)
    close_data_folder(folder)
    assert mode(outside) == 0o644


def test_a_folder_that_cannot_be_made_is_told_by_whoever_needs_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    close_data_folder(tmp_path / "file" / "data")


def test_databases_and_secrets_are_private_from_the_first_byte(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    projects = Projects(settings.projects_database)
    projects.connect(Project(1, "http://127.0.0.1:9", "token", "t", "<View/>"))
    read_backend_password(settings)
    files = [path for path in settings.data_dir.iterdir() if path.is_file()]
    assert {"projects.sqlite", "projects.sqlite-wal", "backend.json"} <= {one.name for one in files}
    assert {mode(path) for path in files} == {0o600}
    assert mode(settings.data_dir) == 0o700


def test_a_private_file_keeps_what_it_holds(tmp_path: Path) -> None:
    create_private(tmp_path / "a.sqlite")
    assert mode(tmp_path / "a.sqlite") == 0o600
    with sqlite3.connect(tmp_path / "a.sqlite") as database:
        database.execute("create table a (b)")
    size = (tmp_path / "a.sqlite").stat().st_size
    create_private(tmp_path / "a.sqlite")
    assert (tmp_path / "a.sqlite").stat().st_size == size > 0
