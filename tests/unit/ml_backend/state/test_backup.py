"""Backing up a data folder, tested by restoring it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tarfile
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest

from ml_backend.registry.versions import Registry
from ml_backend.settings import Settings
from ml_backend.state.backup import BadBackup, make_backup, restore_backup
from ml_backend.state.projects import Project, Projects

FIXTURE = Path(__file__).parents[3] / "fixtures" / "data_folder_0_1" / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A data folder with versions, champions, snapshots, databases, and what is left out."""
    settings = Settings(data_dir=tmp_path / "data")
    for name in ("versions", "champions", "snapshots"):
        shutil.copytree(FIXTURE / name, settings.data_dir / name)
    Projects(settings.projects_database).connect(Project(1, "http://x", "t", "Zellen ü", "<View/>"))
    for left_out in (
        "label-studio/environment-1/bin/python", "images/1/a.png", "logs/worker.log",
        "worker.lock", "versions/.half.0a1b2c3d/version.json",
    ):  # fmt: skip
        path = settings.data_dir / left_out
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"made again")
    (settings.studio / "data").mkdir(parents=True)
    (settings.studio / "data" / ".env").write_text("SECRET_KEY=abc")
    (settings.media / "1").mkdir(parents=True)
    (settings.media / "1" / "ä c.png").write_bytes(os.urandom(1000))
    return settings


def test_what_was_kept_is_restored_and_what_can_be_made_again_is_not(
    settings: Settings, tmp_path: Path
) -> None:
    made = make_backup(settings.data_dir, tmp_path / "out" / "b.tar")
    restored = Settings(data_dir=tmp_path / "new" / "data")
    found = restore_backup(made.file, restored.data_dir)
    assert (found.files, found.created, found.release) == (made.files, made.created, made.release)
    before, after = (Registry(s.versions, s.champions) for s in (settings, restored))
    assert after.list_versions() == before.list_versions() != []
    assert after.get_champion("1") == before.get_champion("1") is not None
    assert Projects(restored.projects_database).get(1).title == "Zellen ü"
    # Label Studio signs its tokens with a key that it keeps in a hidden file.
    key = restored.studio / "data" / ".env"
    assert key.read_text() == "SECRET_KEY=abc"
    image = "media/1/ä c.png"
    assert (restored.data_dir / image).read_bytes() == (settings.data_dir / image).read_bytes()
    there = {
        path.relative_to(restored.data_dir).as_posix() for path in restored.data_dir.rglob("*")
    }
    assert not any(
        name.startswith(("images", "logs", "label-studio/env")) or ".half" in name or "lock" in name
        for name in there
    )
    if os.name == "posix":
        for path in (made.file, restored.projects_database):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_database_that_is_written_to_is_backed_up_as_it_was_at_one_moment(
    settings: Settings, tmp_path: Path
) -> None:
    projects = Projects(settings.projects_database)  # stays open, in write-ahead mode
    projects.add_note(1, "train")
    with closing(sqlite3.connect(settings.projects_database)) as open_database:
        open_database.execute("insert into note values (2, 'publish', 0, 0)")  # not committed
        made = make_backup(settings.data_dir, tmp_path / "b.tar")
        open_database.rollback()
    restored = Settings(data_dir=tmp_path / "restored")
    restore_backup(made.file, restored.data_dir)
    notes = Projects(restored.projects_database).list_notes()
    assert [(project, kind) for project, kind, _, _ in notes] == [(1, "train")]


@pytest.mark.parametrize("harm", ["cut", "changed", "no tar", "nothing"])
def test_a_damaged_backup_leaves_nothing_behind(
    settings: Settings, tmp_path: Path, harm: str
) -> None:
    file = make_backup(settings.data_dir, tmp_path / "b.tar").file
    content = bytearray(file.read_bytes())
    if harm == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif harm == "changed":
        image = (settings.media / "1" / "ä c.png").read_bytes()
        content[content.index(image) + 500] ^= 1
        file.write_bytes(content)
    elif harm == "no tar":
        file.write_bytes(b"nothing of the kind" * 1000)
    else:
        file.unlink()
    target = tmp_path / "restored"
    with pytest.raises((BadBackup, FileNotFoundError), match=r"b\.tar"):
        restore_backup(file, target)
    assert not target.exists() and not list(tmp_path.glob(".restored*"))


def test_a_backup_of_others_writes_nowhere_else(tmp_path: Path) -> None:
    file = tmp_path / "b.tar"
    with tarfile.open(file, "w") as archive:
        entry = tarfile.TarInfo("../outside")
        entry.size = 4
        archive.addfile(entry, BytesIO(b"evil"))
    with pytest.raises(BadBackup):
        restore_backup(file, tmp_path / "inside" / "data")
    assert not (tmp_path / "inside" / "outside").exists() and not (tmp_path / "outside").exists()


def test_what_is_in_the_way_is_told(settings: Settings, tmp_path: Path) -> None:
    file = make_backup(settings.data_dir, tmp_path / "b.tar").file
    with pytest.raises(ValueError, match="not empty: move it away"):
        restore_backup(file, settings.data_dir)
    with pytest.raises(ValueError, match="lies in the data folder"):
        make_backup(settings.data_dir, settings.data_dir / "b.tar")
    with pytest.raises(FileNotFoundError, match="no data folder"):
        make_backup(tmp_path / "nowhere", file)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert restore_backup(file, empty).files > 0
