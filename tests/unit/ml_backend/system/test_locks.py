"""Locks of one machine and of several: held by one, free when it is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from ml_backend.system.database import DatabaseError
from ml_backend.system.locks import NotFree, SharedLocks, hold_lock, is_locked


@pytest.fixture(params=["file", "postgresql"])
def address(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "file" else request.getfixturevalue("postgres_address")


def test_a_lock_is_held_once_and_free_again(tmp_path: Path, address: str | None) -> None:
    path = tmp_path / "training" / "1.lock"
    with hold_lock(path, address):
        with pytest.raises(NotFree), hold_lock(path, address, 0):
            pass
        with hold_lock(path.with_name("2.lock"), address, 0):
            pass
    with hold_lock(path, address, 0):
        pass


def test_a_process_that_is_killed_frees_its_locks(postgres_address: str) -> None:
    code = (
        "import sys; from ml_backend.system.locks import SharedLocks;"
        "locks = SharedLocks(sys.argv[1]); print(locks.take('a'), flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, postgres_address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout and holder.stdout.readline() == "True\n"
    locks = SharedLocks(postgres_address)
    assert locks.is_held("a") and not locks.is_held("b") and not locks.take("a")
    holder.kill()
    holder.wait()
    with hold_lock(Path("x/a"), postgres_address, 5):
        pass
    assert not locks.is_held("a")
    locks.close()


def test_who_lost_the_connection_is_told(postgres_address: str) -> None:
    locks, others = SharedLocks(postgres_address), SharedLocks(postgres_address)
    assert locks.take("a")
    with psycopg.connect(postgres_address) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        )
    with pytest.raises(DatabaseError):
        locks.check()
    assert not others.is_held("a")


def test_a_file_that_nobody_holds_is_not_locked(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    assert not is_locked(path)
    with hold_lock(path, None):
        assert is_locked(path)
    assert not is_locked(path)
