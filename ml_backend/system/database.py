"""Tables that threads, processes and machines share: in a SQLite file, or in PostgreSQL.

Which of the two an address says, and nobody else has to know it: queries are SQLAlchemy's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from ml_backend.system.private_files import create_private

# Of a SQLite file its path, of PostgreSQL a URL.
Address = Path | str
DatabaseError = SQLAlchemyError

# Label Studio's tables may be in the same PostgreSQL, and some have the names of ours. No user has
# this name: a schema of a user's name is searched first, for its other tables too.
SCHEMA = "cytoloop_state"
_SQLITE_PATIENCE = 10.0  # seconds to wait for another writer
_CONNECT_PATIENCE = 10  # seconds to wait for the server
# One lock for whoever makes the tables; any number that is ours.
_MAKING = 0x63_79_74_6F
# Both have the same clauses for conflicts.
_INSERTS: dict[str, Callable[[sql.Table], sqlite.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,  # type: ignore[dict-item]
}


class Text(sql.TypeDecorator[str]):
    """Text of which both databases take every string.

    Half letters (lone surrogates), which JSON may hold, are refused by both, a zero character by
    PostgreSQL: they are written out.
    """

    impl = sql.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sql.Dialect) -> str | None:
        """Write out what a database refuses."""
        if value is None:
            return None
        return value.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


class Database:
    """Some tables of a database; safe for threads, cheap to open."""

    def __init__(self, address: Address, tables: sql.MetaData) -> None:
        """Open them, and make those that are not there.

        Args:
            address: Where; a SQLite file is made, readable by its owner alone.
            tables: Their description.

        Raises:
            DatabaseError: It cannot be opened.
        """
        self._engine = _open_file(address) if isinstance(address, Path) else connect(address)
        with self.begin_alone() as connection:
            for table in tables.sorted_tables:
                connection.execute(sql.schema.CreateTable(table, if_not_exists=True))

    @contextmanager
    def begin(self) -> Iterator[sql.Connection]:
        """Open a transaction, which an error takes back whole.

        Raises:
            DatabaseError: The database does not answer, or another process writes for too long.
        """
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def begin_alone(self) -> Iterator[sql.Connection]:
        """Open a transaction beside which no other one of this kind goes on."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("begin immediate")
            else:
                connection.execute(sql.select(sql.func.pg_advisory_xact_lock(_MAKING)))
                connection.execute(sql.schema.CreateSchema(SCHEMA, if_not_exists=True))
            yield connection


def describe_fault(error: Exception) -> str:
    """Describe an error in one line; SQLAlchemy adds the statement and an address to its own."""
    return " ".join(re.split(r"\n\[SQL|\n\(Background", str(error))[0].split())


def is_there(address: Address) -> bool:
    """Tell whether there is anything to open: PostgreSQL, or the SQLite file."""
    return not isinstance(address, Path) or address.exists()


def connect(address: str, **options: Any) -> sql.Engine:
    """Make what connects to PostgreSQL; nothing is asked yet.

    Args:
        address: Of the database.
        options: SQLAlchemy's of an engine.
    """
    url = sql.make_url(address).set(drivername="postgresql+psycopg")
    # A server that was started again is noticed before a connection is used.
    engine = sql.create_engine(
        url,
        pool_pre_ping=True,
        connect_args={"connect_timeout": _CONNECT_PATIENCE},
        **options,
    )
    return engine.execution_options(schema_translate_map={None: SCHEMA})


def _open_file(path: Path) -> sql.Engine:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    create_private(path)  # it may hold tokens; SQLite gives its logs the same mode
    path.chmod(0o600)
    # The pool keeps a connection open: the last one that closes moves the whole log into the
    # database, for which all others would wait.
    engine = sql.create_engine(
        sql.URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _SQLITE_PATIENCE},
        max_overflow=-1,
    )

    @sql.event.listens_for(engine, "connect")
    def keep_a_log(connection: Any, record: Any) -> None:
        connection.execute("pragma journal_mode = wal")

    return engine


def replace_rows(
    connection: sql.Connection,
    table: sql.Table,
    rows: Sequence[Mapping[str, Any]],
    keeping: Sequence[str] = (),
) -> None:
    """Insert rows; one whose key is there replaces what is there.

    Args:
        connection: In a transaction.
        table: With a primary key.
        rows: Values by the names of the columns; every row has the same ones.
        keeping: Columns whose first value stays.
    """
    if not rows:
        return
    insert = _INSERTS[connection.dialect.name](table)
    keys = table.primary_key.columns.keys()
    changed = {
        name: insert.excluded[name] for name in rows[0] if name not in keys and name not in keeping
    }
    statement = insert.on_conflict_do_update(index_elements=keys, set_=changed)
    connection.execute(statement, _sort(rows, keys))


def add_rows(
    connection: sql.Connection, table: sql.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, except those whose key is there already."""
    if rows:
        insert = _INSERTS[connection.dialect.name](table)
        keys = table.primary_key.columns.keys()
        connection.execute(insert.on_conflict_do_nothing(), _sort(rows, keys))


def remove_rows(
    connection: sql.Connection, table: sql.Table, keys: Sequence[Mapping[str, Any]]
) -> None:
    """Delete the rows of these keys, whether they are there or not.

    Args:
        connection: In a transaction.
        table: With a primary key.
        keys: Values by the names of its columns.
    """
    if keys:
        # A name of its own for each value: SQLAlchemy keeps those of columns to itself.
        mine = [column == sql.bindparam(f"of_{column.name}") for column in table.primary_key]
        names = table.primary_key.columns.keys()
        values = [{f"of_{name}": key[name] for name in names} for key in _sort(keys, names)]
        connection.execute(sql.delete(table).where(*mine), values)


def read_distinct(connection: sql.Connection, *columns: sql.Column[str]) -> set[str]:
    """Read the values that stand in columns, of whatever tables.

    Args:
        connection: In a transaction.
        columns: Of text.
    """
    return {
        value
        for column in columns
        for value in connection.execute(sql.select(column).distinct()).scalars()
    }


def _sort(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[dict[str, Any]]:
    """In one order, whoever writes: two that wait for each other's rows would wait for ever."""
    return sorted(map(dict, rows), key=lambda row: [row[key] for key in keys])
