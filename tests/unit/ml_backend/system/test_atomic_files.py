"""Files are whole or not there, and what was left half-written goes away."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ml_backend.system.atomic_files import DiskFull, replace_file, sweep, write_json
from tests.conftest import disk


def test_only_old_leftovers_are_swept(tmp_path: Path) -> None:
    write_json(tmp_path / "kept.json", 1)
    (tmp_path / ".lock").touch()
    building = tmp_path / ".1-v2-b.0a1b2c3d"
    (building / "deep").mkdir(parents=True)
    with replace_file(tmp_path / "fresh.json") as fresh:
        fresh.touch()
        old = tmp_path / "1" / ".7.89abcdef.json"
        old.parent.mkdir()
        old.touch()
        export = tmp_path / "1" / ".export-x_1y"
        export.mkdir()
        for path in (tmp_path / "kept.json", tmp_path / ".lock", building, old, export):
            os.utime(path, (time.time() - 7200,) * 2)
        sweep(tmp_path)
        assert fresh.exists()
    assert not building.exists() and not old.exists() and not export.exists()
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"kept.json", ".lock", "fresh.json"}


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    with pytest.raises(PermissionError) as caught, replace_file(path) as temporary:
        raise PermissionError(13, "Permission denied", str(temporary))
    assert caught.value.filename == str(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.safetensors", lambda path: save_file({"a": np.ones(1_000_000, np.float32)}, path)),
        ("a.json", lambda path: path.write_bytes(bytes(4_000_000))),
    ],
)
def test_a_full_disk_is_told_whoever_writes(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    with (
        disk(tmp_path, "1m") as small,
        pytest.raises(DiskFull, match="the disk is full") as caught,
        replace_file(small / name) as temporary,
    ):
        write(temporary)
    assert caught.value.path == small / name


def test_another_error_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no such layer"), replace_file(tmp_path / "a.xml"):
        raise RuntimeError("no such layer")
