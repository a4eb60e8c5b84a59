"""Links that log in: once, in time, and not by reading the folder."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_backend.label_studio.people import Person
from ml_backend.state.login_links import SECONDS, make_link_secret, use_link
from ml_backend.system.atomic_files import read_json, write_json

ADA = Person(7, "ada@example.org")


def test_a_link_is_used_by_one_of_many_at_once(tmp_path: Path) -> None:
    secret = make_link_secret(tmp_path, ADA)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: use_link(tmp_path, secret), range(32)))
    assert found.count(ADA) == 1 and found.count(None) == 31


def test_what_is_no_link_logs_nobody_in(tmp_path: Path) -> None:
    secret = make_link_secret(tmp_path, ADA)
    (file,) = tmp_path.glob("*.json")
    for guess in ("", "x", file.stem, "../etc", f"{secret}x"):
        assert use_link(tmp_path, guess) is None
    assert secret not in file.read_text()


def test_an_old_link_is_worth_nothing(tmp_path: Path) -> None:
    secret = make_link_secret(tmp_path, ADA)
    (file,) = tmp_path.glob("*.json")
    write_json(file, {**read_json(file), "until": time.time() - 1})
    assert use_link(tmp_path, secret) is None


def test_links_that_nobody_used_go(tmp_path: Path) -> None:
    make_link_secret(tmp_path, ADA)
    (file,) = tmp_path.glob("*.json")
    os.utime(file, (1, time.time() - SECONDS - 1))
    make_link_secret(tmp_path, ADA)
    assert len(list(tmp_path.glob("*.json"))) == 1 and not file.exists()


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps a user's folders closed by itself")
def test_only_their_owner_reads_them(tmp_path: Path) -> None:
    make_link_secret(tmp_path / "links", ADA)
    (file,) = (tmp_path / "links").glob("*.json")
    assert file.stat().st_mode & 0o077 == 0 and (tmp_path / "links").stat().st_mode & 0o077 == 0
