"""SQLite files that threads and processes share: a connection for each transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 10.0  # seconds to wait for another writer


@contextmanager
def open_transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for one transaction, which an error takes back whole.

    Args:
        path: Of the file; made where it is not there.

    Raises:
        sqlite3.Error: It cannot be opened, or another process writes for too long.
    """
    database = sqlite3.connect(path, timeout=_PATIENCE)
    try:
        with database:
            yield database
    finally:
        database.close()
