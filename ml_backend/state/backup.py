"""A data folder in one file, and back.

A backup can be made while everything runs: databases are copied by SQLite itself, and what points
to files is copied before the files, which are only ever added. What can be made again is left out:
Label Studio's packages, fetched images, trainings under way, logs.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from io import BytesIO
from pathlib import Path

from ml_backend import __version__
from ml_backend.system.atomic_files import is_leftover, replace_file

Report = Callable[[int, int | None], None]

_MANIFEST = "backup.json"
_DATABASES = ("*.sqlite", "*.sqlite3")
# Paths below the data folder; a * may stand for a part of one name.
_LEFT_OUT = (
    "label-studio/environment-*", "label-studio/partial-*", "images", "training", "logs", "demo",
    "children.json",
)  # fmt: skip
# Not all hidden files: Label Studio signs its tokens with the key in label-studio/data/.env.
_LEFT_OUT_NAMES = ("*.lock", "*-wal", "*-shm", ".lock")
# What points to files goes before the files; all else comes in between.
_FIRST, _LAST = ("champions", "jobs.sqlite", "projects.sqlite"), ("versions", "snapshots", "media")


class BadBackup(ValueError):
    """A file that is no backup, or a damaged one; why, in one line."""


@dataclass(frozen=True)
class Backup:
    """What a backup holds.

    Attributes:
        file: The backup.
        files: How many files it holds.
        size: Of the backup, bytes.
        created: Seconds since 1970.
        release: The release of cytoloop that made it.
    """

    file: Path
    files: int
    size: int
    created: float
    release: str


def make_backup(folder: Path, file: Path, report: Report = lambda done, total: None) -> Backup:
    """Write a data folder into one file (a tar, readable by its owner alone).

    Args:
        folder: The data folder; cytoloop may run on it.
        file: Is replaced when the new one is whole.
        report: Called with the files done and their number.

    Raises:
        FileNotFoundError: There is no such data folder.
        ValueError: The backup would lie in the folder itself.
        DiskFull: There is no room for it.
        sqlite3.Error: A database is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no data folder {folder}")
    if file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} lies in the data folder {folder}: write the backup elsewhere")
    paths = list(_list_files(folder))
    hashes: dict[str, str] = {}
    created = time.time()
    file.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(file) as temporary, tarfile.open(temporary, "w") as archive:
        temporary.chmod(0o600)
        for done, path in enumerate(paths, 1):
            name = path.relative_to(folder).as_posix()
            with suppress(FileNotFoundError):  # removed since it was listed
                hashes[name] = _add(archive, path, name)
            report(done, len(paths))
        manifest = {"release": __version__, "created": created, "files": hashes}
        content = json.dumps(manifest).encode()
        entry = tarfile.TarInfo(_MANIFEST)
        entry.size, entry.mtime, entry.mode = len(content), int(created), 0o600
        archive.addfile(entry, BytesIO(content))
    return Backup(file, len(hashes), file.stat().st_size, created, __version__)


def restore_backup(file: Path, folder: Path, report: Report = lambda done, total: None) -> Backup:
    """Make a data folder from a backup; each file is checked, and it appears whole or not at all.

    Args:
        file: What `make_backup` wrote.
        folder: Must not be there yet, or be empty.
        report: Called with the files done; their number is not known before the end.

    Raises:
        BadBackup: It is no backup, or a damaged one.
        ValueError: There is something in the folder already.
        FileNotFoundError: There is no such file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(
            f"{folder} is not empty: move it away first, or restore into another --data-dir"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    building.mkdir(mode=0o700)
    try:
        backup = _extract(file, building, report)
        if folder.exists():
            folder.rmdir()
        building.replace(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return backup


def _list_files(folder: Path) -> Iterator[Path]:
    """List the files to keep: what points to others first, what is pointed to last."""

    def rank(path: Path) -> int:
        top = path.relative_to(folder).parts[0]
        return -1 if top in _FIRST else 1 if top in _LAST else 0

    kept = []
    for parent, folders, files in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if not _is_left_out(inside / name)]
        kept += [Path(parent) / name for name in files if not _is_left_out(inside / name)]
    yield from sorted((path for path in kept if not path.is_symlink()), key=rank)


def _is_left_out(path: Path) -> bool:
    named = any(fnmatch(path.as_posix(), pattern) for pattern in _LEFT_OUT)
    return (
        named
        or is_leftover(path)
        or any(fnmatch(path.name, pattern) for pattern in _LEFT_OUT_NAMES)
    )


def _add(archive: tarfile.TarFile, path: Path, name: str) -> str:
    """Add a file, a database as it is at one moment; return the SHA-256 of what was added."""
    if not any(fnmatch(path.name, pattern) for pattern in _DATABASES):
        return _add_file(archive, path, name)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with (
            closing(sqlite3.connect(path, timeout=30)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return _add_file(archive, copy, name)


def _add_file(archive: tarfile.TarFile, path: Path, name: str) -> str:
    with open(path, "rb") as content:
        entry = archive.gettarinfo(fileobj=content, arcname=name)
        # Nobody else's name and number, and no more rights than its owner needs.
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o600
        archive.addfile(entry, content)
        content.seek(0)
        return hashlib.file_digest(content, "sha256").hexdigest()


def _extract(file: Path, building: Path, report: Report) -> Backup:
    try:
        with tarfile.open(file, "r:") as archive:
            for done, entry in enumerate(archive, 1):
                archive.extract(entry, building, filter="data")
                report(done, None)
        manifest = json.loads((building / _MANIFEST).read_bytes())
        hashes, created = dict(manifest["files"]), float(manifest["created"])
        release = str(manifest["release"])
    except (
        *(tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError),
        *(OverflowError, RecursionError),  # folders, or lists, thousands deep in each other
    ) as error:
        if isinstance(error, FileNotFoundError) and not file.exists():
            raise FileNotFoundError(f"there is no file {file}") from None
        raise BadBackup(f"{file} is no whole backup of cytoloop ({error})") from error
    (building / _MANIFEST).unlink()
    for name, expected in hashes.items():
        path = building / name
        if not path.is_file() or _hash(path) != expected:
            raise BadBackup(f"{file} is damaged: {name} is not what was backed up")
    return Backup(file, len(hashes), file.stat().st_size, created, release)


def _hash(path: Path) -> str:
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
