"""Which tiles of a project were drawn, in which order and with which probabilities.

One SQLite file in the data folder. An estimate rests on it: what was drawn and may have been
looked at is never changed, only added to.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ml_backend.system.sqlite_files import open_transaction

_SCHEMA = """
create table if not exists claim (
    project integer not null, task integer not null, version text not null, cells real not null,
    primary key (project, task)
);
create table if not exists draw (
    project integer not null, place integer not null, task integer not null,
    probability real not null, tiles_left integer not null, claimed real not null,
    expected real not null, expected_left real not null, version text not null,
    at real not null, primary key (project, place), unique (project, task)
);
"""


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

    def __init__(self, path: Path) -> None:
        """Open the store, and make it where it is not there.

        Args:
            path: The SQLite file.
        """
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.executescript(_SCHEMA)

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return open_transaction(self._path)

    # Claims.

    def keep_claims(self, project: int, version: str, cells: Mapping[int, float]) -> None:
        """Keep how many cells a version expects on tiles, by task; older claims are replaced."""
        with self._open() as database:
            database.executemany(
                "insert or replace into claim values (?, ?, ?, ?)",
                [(project, task, version, expected) for task, expected in cells.items()],
            )

    def read_claims(self, project: int) -> dict[int, Claim]:
        """Return the newest claim for each tile, by task: these tiles are the whole."""
        with self._open() as database:
            rows = database.execute(
                "select task, version, cells from claim where project = ?", (project,)
            )
            return {task: Claim(version, cells) for task, version, cells in rows}

    def remove_claims(self, project: int, tasks: Collection[int]) -> None:
        """Forget tiles that are not there any more, or cannot be read: they are not drawn."""
        with self._open() as database:
            database.executemany(
                "delete from claim where project = ? and task = ?",
                [(project, task) for task in tasks],
            )

    # Draws.

    def list_draws(self, project: int) -> list[DrawnTile]:
        """Return the tiles that were drawn, in their order."""
        names = ", ".join(field.name for field in fields(DrawnTile))  # our own, from nobody
        with self._open() as database:
            rows = database.execute(
                f"select {names} from draw where project = ? order by place",  # noqa: S608
                (project,),
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
        with self._open() as database:
            database.execute("delete from draw where project = ? and place > ?", (project, kept))
            database.executemany(
                "insert into draw (project, place, at, task, probability, tiles_left, claimed,"
                " expected, expected_left, version) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (project, kept + place, now, *astuple(tile))
                    for place, tile in enumerate(drawn, start=1)
                ],
            )
