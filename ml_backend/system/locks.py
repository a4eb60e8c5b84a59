"""Locks that go when their process goes: by a file on one machine, by PostgreSQL on several."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sql
from filelock import FileLock, Timeout

from ml_backend.system.database import connect
from ml_backend.system.retry import wait_until

# Of the two numbers of an advisory lock, the one that says that it is ours.
_OURS = 0x6379746F
# A machine that lost its power says no farewell: PostgreSQL notices after 10 + 3 * 5 seconds.
_KEEPALIVES = {"idle": 10, "interval": 5, "count": 3}


class NotFree(TimeoutError):
    """Another process holds a lock."""


class SharedLocks:
    """Locks that one connection to PostgreSQL holds, which frees them when the connection ends."""

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: Of the database.

        Raises:
            DatabaseError: It does not answer.
        """
        engine = connect(address, poolclass=sql.NullPool, isolation_level="AUTOCOMMIT")
        self._connection = engine.connect()
        for name, value in _KEEPALIVES.items():
            self._connection.exec_driver_sql(f"set tcp_keepalives_{name} = {value}")

    def take(self, name: str) -> bool:
        """Take a lock if it is free; return whether it is ours now.

        Raises:
            DatabaseError: The connection is gone, and with it all locks.
        """
        taken = sql.func.pg_try_advisory_lock(_OURS, _number(name))
        return bool(self._connection.execute(sql.select(taken)).scalar())

    def check(self) -> None:
        """Look whether the connection is there.

        Raises:
            DatabaseError: It is gone, and with it all locks.
        """
        self._connection.exec_driver_sql("select 1")

    def is_held(self, name: str) -> bool:
        """Tell whether any process, this one too, holds a lock.

        Raises:
            DatabaseError: The connection is gone.
        """
        query = sql.text(
            "select count(*) from pg_locks join pg_database on pg_database.oid = database "
            "where locktype = 'advisory' and granted and datname = current_database() "
            "and classid::bigint = :ours and objid::bigint = :number"
        )
        values = {"ours": _OURS, "number": _number(name)}
        return bool(self._connection.execute(query, values).scalar())

    def close(self) -> None:
        """Free all of them."""
        self._connection.close()


@contextmanager
def hold_lock(path: Path, address: str | None, seconds: float = float("inf")) -> Iterator[None]:
    """Hold a lock while a block runs.

    Args:
        path: A file, the lock of one machine; its last two names are the lock's on PostgreSQL.
        address: Of PostgreSQL, where several machines share the lock; None for one machine.
        seconds: How long to wait until it is free.

    Raises:
        NotFree: It was not in time.
        DatabaseError: PostgreSQL does not answer.
    """
    name = "/".join(path.parts[-2:])
    if address is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(path, timeout=-1 if seconds == float("inf") else seconds):
                yield
        except Timeout:
            raise NotFree(f"another process holds {path}") from None
        return
    locks = SharedLocks(address)
    try:
        if not wait_until(lambda: locks.take(name), every=0.2, timeout=seconds):
            raise NotFree(f"another process holds {name}")
        yield
    finally:
        locks.close()


def is_locked(path: Path) -> bool:
    """Tell whether a process of this machine holds the lock of a file."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _number(name: str) -> int:
    """Make a number of 31 bits from a lock's name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) >> 1
