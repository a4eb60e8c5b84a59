"""Files that are never seen half-written: written beside their place, checked, then moved."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; it takes its place when the block ends well.

    On an error the temporary file is removed and what was at `path` stays.
    """
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
