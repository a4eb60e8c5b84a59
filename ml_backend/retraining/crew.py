"""Who works: one worker on a data folder, or on PostgreSQL several, of which one leads.

Every worker does jobs. The one that leads also follows the notes, asks Label Studio what changed,
and queues again what a worker left that is gone. A worker is there as long as it holds a lock of
its name.
"""

from __future__ import annotations

import logging
import secrets
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ml_backend.settings import Settings
from ml_backend.system.database import DatabaseError
from ml_backend.system.locks import NotFree, SharedLocks, hold_lock, is_locked

log = logging.getLogger(__name__)

_LEADER = "leader"


class WorkerRunning(RuntimeError):
    """Another worker holds this data folder."""


class Crew(Protocol):
    """A worker's place among the others."""

    # Under which its jobs are kept.
    name: str

    def leads(self) -> bool:
        """Tell whether this worker leads; to be asked again and again."""
        ...

    def find_gone(self, names: Iterable[str]) -> set[str]:
        """Find the workers of these names that are not there any more."""
        ...


class Alone:
    """The one worker on a data folder.

    Its name is fixed, so that an upgrade of cytoloop or another machine name strands no job.
    """

    name = "worker"

    def leads(self) -> bool:
        """Return True."""
        return True

    def find_gone(self, names: Iterable[str]) -> set[str]:
        """Return none: what it left itself it takes up when it starts."""
        return set()


class SharedCrew:
    """One of several workers on a PostgreSQL; each start is another one."""

    def __init__(self, address: str) -> None:
        """Join the others.

        Args:
            address: Of the database.

        Raises:
            DatabaseError: It does not answer.
        """
        self._address = address
        self.name = f"{socket.gethostname()}-{secrets.token_hex(4)}"
        self._is_leader = False
        self._locks = self._join()

    def leads(self) -> bool:
        """Tell whether this worker leads.

        Raises:
            DatabaseError: The database does not answer; asked again, it joins anew.
        """
        try:
            if self._is_leader:
                self._locks.check()
            elif self._locks.take(_LEADER):
                self._is_leader = True
                log.info("this worker leads")
        except DatabaseError:
            self._is_leader = False
            self._locks.close()
            self._locks = self._join()
        return self._is_leader

    def find_gone(self, names: Iterable[str]) -> set[str]:
        """Find the workers of these names that are not there any more."""
        return {name for name in names if not self._locks.is_held(name)}

    def leave(self) -> None:
        """Leave the others."""
        self._locks.close()

    def _join(self) -> SharedLocks:
        locks = SharedLocks(self._address)
        locks.take(self.name)
        return locks


@contextmanager
def join_crew(settings: Settings) -> Iterator[Crew]:
    """Take a worker's place while a block runs.

    Raises:
        WorkerRunning: Another worker holds the data folder, without PostgreSQL.
        DatabaseError: PostgreSQL does not answer.
    """
    if settings.database_url is None:
        try:
            with hold_lock(settings.data_dir / "worker.lock", None, 0):
                yield Alone()
        except NotFree:
            raise WorkerRunning(f"a worker is running on {settings.data_dir} already") from None
        return
    crew = SharedCrew(settings.database_url)
    try:
        yield crew
    finally:
        crew.leave()


def is_worker_running(settings: Settings) -> bool:
    """Tell whether a worker holds the data folder, or leads on PostgreSQL.

    Raises:
        DatabaseError: PostgreSQL does not answer.
    """
    if settings.database_url is None:
        return is_locked(settings.data_dir / "worker.lock")
    locks = SharedLocks(settings.database_url)
    try:
        return locks.is_held(_LEADER)
    finally:
        locks.close()


if __name__ == "__main__":  # the health check of a container
    sys.exit(not is_worker_running(Settings()))
