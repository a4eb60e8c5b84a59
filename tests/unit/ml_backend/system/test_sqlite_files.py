"""A transaction over a shared SQLite file: all of it, or nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ml_backend.system.sqlite_files import open_transaction


def test_what_was_written_is_there_and_the_connection_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with open_transaction(path) as database:
        database.execute("create table number (value integer)")
        database.execute("insert into number values (1)")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("select 1")
    with open_transaction(path) as database:
        assert database.execute("select value from number").fetchall() == [(1,)]


def test_an_error_takes_the_whole_transaction_back(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with open_transaction(path) as database:
        database.execute("create table number (value integer)")
    with pytest.raises(KeyError), open_transaction(path) as database:
        database.execute("insert into number values (1)")
        raise KeyError
    with open_transaction(path) as database:
        assert database.execute("select count(*) from number").fetchone() == (0,)
