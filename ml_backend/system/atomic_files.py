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

from ml_backend.system.private_files import close_data_folder, keep_private


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
    """Make it where it is not there yet, and keep it from other users of the machine.

    What this process makes from now on is kept from them too.

    Raises:
        NotWritable: It cannot be written in; in words for the user.
    """
    keep_private()
    close_data_folder(folder)
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
def replace_file(path: Path) -> Iterator[Path]:
    """Let a block write a file that is never seen half-written.

    Args:
        path: The file; its folder is made. On an error what was there stays.

    Yields:
        A temporary path beside `path`, which takes its place when the block ends well.

    Raises:
        DiskFull: There is no room, or none for this user.
        OSError: It cannot be written for another reason; the error names `path`.
    """
    try:
        with _beside(path) as temporary:
            yield temporary
    except OSError as error:
        if error.errno in _NO_ROOM and not isinstance(error, DiskFull):
            raise DiskFull(path) from error
        if error.filename and Path(error.filename).name.startswith(f".{path.stem}."):
            # A message about the temporary file would mean nothing to the user.
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    except Exception as error:
        # safetensors, which is Rust, puts the system's error into one of its own.
        if os.strerror(errno.ENOSPC) in str(error):
            raise DiskFull(path) from error
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
def create_folder(folder: Path) -> Iterator[Path]:
    """Let a block fill a folder that is never seen half-filled.

    Args:
        folder: A new one, or an empty one.

    Yields:
        A temporary folder beside it, which takes its place when the block ends well.

    Raises:
        FileExistsError: Something is in `folder` already.
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


# What a process leaves that was killed on its way: see `replace_file`, `Registry.add`, `export`.
_LEFTOVER = re.compile(r"\.(export-\w+|.+\.[0-9a-f]{8}(\.\w+)?)")


def is_leftover(path: Path) -> bool:
    """Tell by its name whether a file or folder is one that is being written, or was left so."""
    return _LEFTOVER.fullmatch(path.name) is not None


def sweep(folder: Path, age: float = 3600.0) -> None:
    """Remove what killed processes left half-written below `folder`, `age` seconds ago or more."""
    for path in [*folder.rglob(".*")]:
        with suppress(OSError):  # another process may be quicker
            if is_leftover(path) and time.time() - path.stat().st_mtime >= age:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_json(path: Path, value: Any, *, private: bool = False) -> None:
    """Write a value as JSON.

    Args:
        path: The file, replaced whole.
        value: What `json.dump` takes.
        private: Keep it from other users of the machine.

    Raises:
        DiskFull: There is no room.
    """
    with replace_file(path) as temporary:
        mode = 0o600 if private else 0o666
        opened = os.open(temporary, os.O_WRONLY | os.O_CREAT, mode)
        # Half a letter (a lone surrogate), which UTF-8 cannot hold, becomes JSON's escape of it.
        with open(opened, "w", encoding="utf-8", errors="backslashreplace") as f:
            json.dump(value, f, indent=1, sort_keys=True, ensure_ascii=False)


def read_json(path: Path, default: Any = None) -> Any:
    """Read the JSON value in a file.

    Args:
        path: The file.
        default: Returned where there is no such file.

    Raises:
        ValueError: It is not JSON; the message names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
