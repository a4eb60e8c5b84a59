"""Transactions on SQLite and PostgreSQL: whole or not at all, from threads and processes."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sql

from ml_backend.system.database import (
    Address,
    Database,
    DatabaseError,
    Text,
    add_rows,
    is_there,
    replace_rows,
)

TABLES = sql.MetaData()
# Label Studio has a table of this name as well.
ROWS = sql.Table(
    "task",
    TABLES,
    sql.Column("number", sql.BigInteger, primary_key=True, autoincrement=False),
    sql.Column("text", Text, nullable=False),
    sql.Column("other", Text),
)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Address:
    in_file = request.param == "sqlite"
    return tmp_path / "a.sqlite" if in_file else request.getfixturevalue("postgres_address")


def read(database: Database) -> dict[int, str]:
    with database.begin() as connection:
        rows = connection.execute(sql.select(ROWS).order_by(ROWS.c.number))
        return {number: text for number, text, _ in rows}


def row(number: int, text: str, other: str = "") -> dict[str, object]:
    return {"number": number, "text": text, "other": other}


def test_an_error_takes_all_of_a_transaction_back(address: Address) -> None:
    database = Database(address, TABLES)
    with pytest.raises(KeyError), database.begin() as connection:
        add_rows(connection, ROWS, [row(1, "a")])
        raise KeyError
    assert read(database) == {}


def test_rows_are_replaced_or_stay_as_it_is_asked(address: Address) -> None:
    database = Database(address, TABLES)
    with database.begin() as connection:
        replace_rows(connection, ROWS, [row(2, "b", "first"), row(1, "a", "first")])
        replace_rows(connection, ROWS, [row(2, "c", "second")], keeping=["other"])
        add_rows(connection, ROWS, [row(2, "d"), row(3, "e")])
        replace_rows(connection, ROWS, [])
        add_rows(connection, ROWS, [])
        others = connection.execute(sql.select(ROWS.c.other).order_by(ROWS.c.number))
        assert list(others.scalars()) == ["first", "first", ""]
    assert read(database) == {1: "a", 2: "c", 3: "e"}


def test_many_that_open_it_at_once_all_find_its_tables(address: Address) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: Database(address, TABLES), range(8)))
        rows = [row(number, "a") for number in range(20)]

        def write(number: int) -> None:
            # Each in another order: they must not wait for each other's rows for ever.
            turned = rows if number % 2 else rows[::-1]
            with opened[number % 8].begin() as connection:
                replace_rows(connection, ROWS, turned)

        list(pool.map(write, range(40)))
    assert all(len(read(database)) == 20 for database in opened)


def test_other_tables_of_the_same_names_are_left_alone(postgres_address: str) -> None:
    engine = sql.create_engine(postgres_address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql("create table task (id text)")
    database = Database(postgres_address, TABLES)
    with database.begin() as connection:
        add_rows(connection, ROWS, [row(1, "a")])
    with engine.begin() as connection:
        assert connection.exec_driver_sql("select count(*) from task").scalar() == 0


def test_a_file_is_there_once_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.sqlite"
    assert not is_there(path)
    Database(path, TABLES)
    assert is_there(path) and is_there("postgresql://anywhere/a")


def test_a_file_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    """It was no log then, and its columns had other names for their types."""
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as former, former:
        former.execute(
            "create table task (number integer not null, text text not null, other text,"
            " primary key (number))"
        )
        former.execute("insert into task values (7, 'kept', null)")
    database = Database(path, TABLES)
    with database.begin() as connection:
        replace_rows(connection, ROWS, [row(8, "new")])
    assert read(database) == {7: "kept", 8: "new"}


def test_a_server_that_does_not_answer_is_told_without_the_password() -> None:
    with pytest.raises(DatabaseError) as raised:
        Database("postgresql://me:secret-word@127.0.0.1:9/none", TABLES)  # pragma: allowlist secret
    assert "127.0.0.1" in str(raised.value) and "secret-word" not in str(raised.value)
