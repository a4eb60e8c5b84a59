"""Files that are never seen half-written: written beside their place, checked, then moved."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


class DiskFull(OSError):
    """There is no room for a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(errno.ENOSPC, "no room")
        self.path = path

    def __str__(self) -> str:
        return f"the disk is full, {self.path} was not written: make room and do the same again"


class NotWritable(OSError):
    """A data folder in which nothing can be written."""


def check_data_folder(folder: Path) -> None:
    """Make it where it is not there yet. Raises NotWritable, in words for the user."""
    probe = folder / f".write-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise NotWritable(
            f"cannot write to the data folder {folder} ({error.strerror or error}); "
            "choose another with --data-dir"
        ) from error


# A quota of one's own, where the system knows such.
_NO_ROOM = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes its place when the block ends well.

    On an error the temporary file is removed and what was at `path` stays. Raises DiskFull
    for what the system says when there is no room, or none for this user.
    """
    try:
        with _beside(path) as temporary:
            yield temporary
    except OSError as error:
        if error.errno in _NO_ROOM and not isinstance(error, DiskFull):
            raise DiskFull(path) from error
        if error.filename and Path(error.filename).name.startswith(f".{path.stem}."):
            # Nobody knows the temporary file.
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    # The ending is kept: writers such as OpenVINO's choose the format by it.
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`; it takes its place when the block ends well.

    Raises FileExistsError where something is in `folder` already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} is not an empty folder; give a new one")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


# What a process leaves that was killed on its way: see `replacing`, `Registry.add`, `export`.
_LEFTOVER = re.compile(r"\.(export-\w+|.+\.[0-9a-f]{8}(\.\w+)?)")


def sweep(folder: Path, age: float = 3600.0) -> None:
    """Remove what killed processes left half-written below `folder`, `age` seconds ago or more."""
    for path in [*folder.rglob(".*")]:
        with suppress(OSError):  # another process may be quicker
            if _LEFTOVER.fullmatch(path.name) and time.time() - path.stat().st_mtime >= age:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write `value` as JSON; `private` keeps it from other users of the machine."""
    with replacing(path) as temporary:
        mode = 0o600 if private else 0o666
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT, mode), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=1, sort_keys=True, ensure_ascii=False)


def read_json(path: Path, default: Any = None) -> Any:
    """The JSON value in `path`, or `default` where there is no such file.

    Raises ValueError, naming the file, when it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
