"""The backend's password: made once, private, and the same for every process."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_backend.settings import Settings
from ml_backend.system.credentials import read_backend_password


def test_it_is_made_once_and_stays(tmp_path: Path) -> None:
    password = read_backend_password(Settings(data_dir=tmp_path))
    assert len(password) >= 20
    assert read_backend_password(Settings(data_dir=tmp_path)) == password
    assert read_backend_password(Settings(data_dir=tmp_path / "other")) != password


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    read_backend_password(Settings(data_dir=tmp_path))
    assert (tmp_path / "backend.json").stat().st_mode & 0o077 == 0


def test_a_setting_counts_before_the_file(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, backend_password="given")
    assert read_backend_password(settings) == "given"
    assert not (tmp_path / "backend.json").exists()


def test_the_last_of_several_that_made_one_at_once_counts(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: read_backend_password(settings), range(8)))
    assert read_backend_password(settings) == read_backend_password(settings)
