"""Which tiles of a project were drawn, in which order and with which probabilities.

An estimate rests on it: what was drawn and may have been
looked at is never changed, only added to.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    MetaData,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
)

from ml_backend.system.database import (
    Address,
    Database,
    Text,
    read_distinct,
    remove_rows,
    replace_rows,
)

_TABLES = MetaData()
_claim = Table(
    "claim",
    _TABLES,
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("task", BigInteger, primary_key=True, autoincrement=False),
    Column("version", Text, nullable=False),
    Column("cells", Float, nullable=False),
)
_draw = Table(
    "draw",
    _TABLES,
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("task", BigInteger, nullable=False),
    Column("probability", Float, nullable=False),
    Column("tiles_left", BigInteger, nullable=False),
    Column("claimed", Float, nullable=False),
    Column("expected", Float, nullable=False),
    Column("expected_left", Float, nullable=False),
    Column("version", Text, nullable=False),
    Column("at", Float, nullable=False),
    UniqueConstraint("project", "task"),
)


@dataclass(frozen=True)
class Claim:
    """How many cells a version expects on a tile.

    Attributes:
        version: The version.
        cells: The sum of the confidences of what it found, 0 or more.
    """

    version: str
    cells: float


@dataclass(frozen=True)
class DrawnTile:
    """A tile that was drawn; its place in the order is its place in the list, from 1.

    Attributes:
        task: Label Studio's id of its task.
        probability: That this tile was drawn, of those then left; over 0 to 1. 1 for a tile that
            was reviewed before the drawing began: it stands for itself alone.
        tiles_left: How many tiles were left then, this one included.
        claimed: The cells that the version claimed there.
        expected: The cells that were expected there, by the claims and all counts so far.
        expected_left: The cells that were expected on all tiles then left.
        version: The version of the claims; "" where none had any part in it.
    """

    task: int
    probability: float
    tiles_left: int
    claimed: float
    expected: float
    expected_left: float
    version: str


class SampleStore:
    """The draws and claims of the projects of a data folder; safe for threads and processes."""

    def __init__(self, address: Address) -> None:
        """Open the store, and make it where it is not there.

        Args:
            address: A SQLite file, or PostgreSQL's.
        """
        self._database = Database(address, _TABLES)

    # Claims.

    def keep_claims(self, project: int, version: str, cells: Mapping[int, float]) -> None:
        """Keep how many cells a version expects on tiles, by task; older claims are replaced."""
        rows = [
            {"project": project, "task": task, "version": version, "cells": float(expected)}
            for task, expected in cells.items()
        ]
        with self._database.begin() as connection:
            replace_rows(connection, _claim, rows)

    def read_claims(self, project: int) -> dict[int, Claim]:
        """Return the newest claim for each tile, by task: these tiles are the whole."""
        query = select(_claim.c.task, _claim.c.version, _claim.c.cells)
        with self._database.begin() as connection:
            rows = connection.execute(query.where(_claim.c.project == project))
            return {task: Claim(version, cells) for task, version, cells in rows}

    def list_versions(self) -> set[str]:
        """List the versions whose claims are kept, or that tiles were drawn by."""
        with self._database.begin() as connection:
            return read_distinct(connection, _claim.c.version, _draw.c.version)

    def remove_claims(self, project: int, tasks: Collection[int]) -> None:
        """Forget tiles that are not there any more, or cannot be read: they are not drawn."""
        keys = [{"project": project, "task": task} for task in tasks]
        with self._database.begin() as connection:
            remove_rows(connection, _claim, keys)

    # Draws.

    def list_draws(self, project: int) -> list[DrawnTile]:
        """Return the tiles that were drawn, in their order."""
        query = select(*(_draw.c[field.name] for field in fields(DrawnTile)))
        with self._database.begin() as connection:
            rows = connection.execute(
                query.where(_draw.c.project == project).order_by(_draw.c.place)
            )
            return [DrawnTile(*row) for row in rows]

    def replace_draws(self, project: int, kept: int, drawn: Sequence[DrawnTile]) -> None:
        """Let draws follow the first ones, all at once.

        Args:
            project: The project's id.
            kept: So many draws stay, from the first; the others were looked at by nobody.
            drawn: Follow them, in their order.
        """
        now = time.time()
        rows = [
            {"project": project, "place": kept + place, "at": now, **asdict(tile)}
            for place, tile in enumerate(drawn, start=1)
        ]
        others = (_draw.c.project == project) & (_draw.c.place > kept)
        with self._database.begin() as connection:
            connection.execute(delete(_draw).where(others))
            if rows:
                connection.execute(insert(_draw), rows)
