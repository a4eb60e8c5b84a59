"""Files are whole or not there, and what was left half-written goes away."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ml_backend.system.atomic_files import replace_file, sweep, write_json


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
