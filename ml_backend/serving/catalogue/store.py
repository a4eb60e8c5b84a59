"""The catalogue of one project: a SQLite file that can be deleted at any time.

What it holds is read from Label Studio, except the decisions that nobody has stored there yet
(`decisions`). One process writes; any thread of it reads.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from ml_backend.dataset.corrections import Correction, Edit
from ml_backend.serving.catalogue.cells import Cell, TaskCells
from ml_backend.serving.catalogue.likeness import Looks, compare_looks, join_looks
from ml_backend.system.private_files import create_private

T = TypeVar("T")

_SCHEMA = """
create table if not exists task (
    id integer primary key, image text not null, sample text not null, split text not null,
    blind integer not null, state text not null, version text not null, annotation integer,
    updated text not null, from_nothing integer not null, drawn text not null
);
create index if not exists task_state on task (state);
create index if not exists task_drawn on task (drawn);
create table if not exists cell (
    number integer primary key, task integer not null, region text not null,
    x1 real not null, y1 real not null, x2 real not null, y2 real not null,
    label text not null, shown text not null, state text not null,
    confidence real, disagreement real not null, sample text not null
);
create index if not exists cell_task on cell (task);
create index if not exists cell_unsure on cell (coalesce(confidence, 2));
create index if not exists cell_confident on cell (coalesce(confidence, -1));
create index if not exists cell_disagreement on cell (disagreement);
create index if not exists cell_class on cell (shown, label, confidence);
create index if not exists cell_change on cell (shown, label) where state <> 'detected';
create index if not exists cell_sample on cell (sample, confidence);
create table if not exists correction (
    annotation integer primary key, task integer not null, version text not null,
    seconds real, edits text not null
);
create index if not exists correction_task on correction (task);
create table if not exists fact (name text primary key, value text not null);
create table if not exists look (number integer primary key, vector blob not null);
create table if not exists answer (
    task integer not null, version text not null, content text not null,
    primary key (task, version)
);
create table if not exists decision (
    number integer primary key, task integer not null, person integer not null,
    kind text not null, label text not null, batch integer not null, seconds real not null
);
create index if not exists decision_task on decision (task);
create table if not exists batch (
    id integer primary key autoincrement, person integer not null, at real not null,
    before text not null
);
create table if not exists stored (
    annotation integer primary key, task integer not null, batch integer not null,
    content text not null
);
"""
_CELL = "number, task, region, x1, y1, x2, y2, label, shown, state, confidence, disagreement"

Order = Literal["unsure", "confident", "disagreement", "class", "sample", "newest"]
# Each has its index; the number is the key of a row, so it stands at the end of each.
ORDERS: dict[Order, str] = {
    "unsure": "coalesce(confidence, 2), number",
    "confident": "coalesce(confidence, -1) desc, number desc",
    "disagreement": "disagreement desc, number desc",
    "class": "shown, label, confidence, number",
    "sample": "sample, confidence, number",
    "newest": "task desc, number desc",
}


@dataclass(frozen=True)
class CellFilter:
    """Which cells are wanted; None is any.

    Attributes:
        shown: What a version showed it as; "" where it showed nothing.
        label: What it is now; "" where a person deleted it.
        state: What became of it; "reviewed" for any that a person decided about.
        sample: What its image is a picture of.
        task: Its task.
        least: The lowest confidence, 0..1.
        most: The highest.
        begun: Only cells that are not decided, of tasks of which others are.
    """

    shown: str | None = None
    label: str | None = None
    state: str | None = None
    sample: str | None = None
    task: int | None = None
    least: float | None = None
    most: float | None = None
    begun: bool = False

    def to_sql(self) -> tuple[str, list[Any]]:
        """Return a condition and its values."""
        terms, values = ["1"], []
        for name in ("shown", "label", "sample", "task"):
            if (value := getattr(self, name)) is not None:
                terms.append(f"{name} = ?")
                values.append(value)
        if self.state == "reviewed":
            terms.append("state <> 'detected'")
        elif self.state is not None:
            terms.append("state = ?")
            values.append(self.state)
        if self.least is not None:
            terms.append("confidence >= ?")
            values.append(self.least)
        if self.most is not None:
            terms.append("confidence <= ?")
            values.append(self.most)
        if self.begun:
            terms.append("task in (select task from decision)")
            terms.append("state = 'detected' and number not in (select number from decision)")
        return " and ".join(terms), values


@dataclass(frozen=True)
class Counts:
    """How many tasks and cells a catalogue holds.

    Attributes:
        tasks: All of them.
        reviewed: Tasks that a person submitted.
        detected: Tasks that a version drew, and nobody submitted.
        waiting: Tasks with neither.
        cells: All cells.
        undecided: Cells that nobody has looked at.
    """

    tasks: int
    reviewed: int
    detected: int
    waiting: int
    cells: int
    undecided: int


class Catalogue:
    """The catalogue of a project; safe among the threads of a process.

    Args:
        path: The SQLite file; made where it is not there.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path)
        self._path = path
        self._local = threading.local()
        self._writing = threading.Lock()
        self._remembered: dict[str, tuple[str, Any]] = {}
        self._looks: tuple[np.ndarray, Looks] | None = None
        with self.write() as database:
            database.executescript(_SCHEMA)

    def read(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        database = getattr(self._local, "database", None)
        if database is None:
            database = self._local.database = sqlite3.connect(self._path, timeout=10)
            database.execute("pragma journal_mode = wal")
            # It can be read from Label Studio again, so a power cut may cost its last moments.
            database.execute("pragma synchronous = normal")
        return database

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Write in one transaction; the threads take turns."""
        with self._writing, self.read() as database:
            yield database

    # What Label Studio holds.

    def put(self, tasks: Sequence[TaskCells], version: str) -> None:
        """Keep tasks with all their cells, in place of what was kept of them.

        Args:
            tasks: As they were read.
            version: The version that is shown where nobody has annotated.
        """
        ids = [(task.task,) for task in tasks]
        with self.write() as database:
            for table in ("cell", "correction"):
                database.executemany(f"delete from {table} where task = ?", ids)
            database.executemany(
                "insert or replace into task values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        row.task, row.image, row.sample, row.split, row.blind, row.state,
                        row.version, row.annotation, row.updated, row.from_nothing,
                        version if row.drawn else "",
                    )
                    for row in tasks
                ],
            )  # fmt: skip
            database.executemany(
                "insert or replace into cell values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        cell.number, cell.task, cell.region, *cell.box, cell.label, cell.shown,
                        cell.state, cell.confidence, cell.disagreement, row.sample,
                    )
                    for row in tasks
                    for cell in row.cells
                ],
            )  # fmt: skip
            database.executemany(
                "insert or replace into correction values (?, ?, ?, ?, ?)",
                [
                    (
                        made.annotation, made.task, made.version, made.seconds,
                        json.dumps([[e.change, e.label, e.iou] for e in made.edits]),
                    )
                    for row in tasks
                    for made in row.corrections
                ],
            )  # fmt: skip
            # Who decided about a task that somebody annotated meanwhile decided in vain.
            database.executemany(
                "delete from decision where task = ?",
                [(row.task,) for row in tasks if row.state == "reviewed"],
            )
            self._change(database)

    def remove(self, tasks: Iterable[int]) -> None:
        """Forget tasks that are not in Label Studio any more."""
        ids = [(task,) for task in tasks]
        with self.write() as database:
            database.executemany("delete from task where id = ?", ids)
            for table in ("cell", "correction", "decision"):
                database.executemany(f"delete from {table} where task = ?", ids)
            self._change(database)

    def _change(self, database: sqlite3.Connection) -> None:
        database.execute(
            "insert into fact values ('revision', 1)"
            " on conflict (name) do update set value = value + 1"
        )

    def get_fact(self, name: str, default: str = "") -> str:
        """Read what was kept under a name."""
        row = self.read().execute("select value from fact where name = ?", (name,)).fetchone()
        return default if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Keep something under a name."""
        with self.write() as database:
            database.execute("insert or replace into fact values (?, ?)", (name, value))

    @property
    def revision(self) -> str:
        """Changes whenever tasks or cells do."""
        return self.get_fact("revision", "0")

    def remember(self, name: str, make: Callable[[], T]) -> T:
        """Make something of what the catalogue holds, once for each revision of it.

        Args:
            name: Of what is made.
            make: Makes it; the result must not be changed.
        """
        revision = self.revision
        known = self._remembered.get(name)
        if known is None or known[0] != revision:
            known = self._remembered[name] = revision, make()
        return known[1]

    # Tasks.

    def list_task_ids(self, *, without: str | None = None) -> list[int]:
        """List the tasks' ids, in order.

        Args:
            without: Only tasks that nobody annotated and that this version did not draw.
        """
        query, values = "select id from task", list[str]()
        if without is not None:
            query += " where state <> 'reviewed' and drawn <> ?"
            values.append(without)
        return [row[0] for row in self.read().execute(f"{query} order by id", values)]

    def count_drawn(self, version: str) -> int:
        """Count the tasks that this version drew."""
        query = "select count(*) from task where drawn = ?"
        return int(self.read().execute(query, (version,)).fetchone()[0])

    def get_task(self, task: int) -> tuple[str, str, str] | None:
        """Return a task's image, state and version; None where it is not known."""
        query = "select image, state, version from task where id = ?"
        return self.read().execute(query, (task,)).fetchone()

    def list_submitted(self) -> list[tuple[int, int, str, str]]:
        """List (task, annotation that counts, when it was changed, side) of the reviewed tasks."""
        return self.remember("submitted", self._list_submitted)

    def _list_submitted(self) -> list[tuple[int, int, str, str]]:
        query = "select id, annotation, updated, split from task where state = 'reviewed'"
        return list(self.read().execute(f"{query} order by id"))

    def count(self) -> Counts:
        """Count tasks and cells."""
        return self.remember("counts", self._count)

    def _count(self) -> Counts:
        rows = self.read().execute("select state, count(*) from task group by state")
        states: dict[str, int] = dict(rows)
        cells = dict(self.read().execute("select state, count(*) from cell group by state"))
        return Counts(
            sum(states.values()),
            states.get("reviewed", 0),
            states.get("detected", 0),
            states.get("waiting", 0),
            sum(cells.values()),
            cells.get("detected", 0),
        )

    # Cells.

    def find_cells(
        self, wanted: CellFilter, order: Order = "unsure", limit: int = 200, offset: int = 0
    ) -> list[Cell]:
        """Find cells, a page of them."""
        condition, values = wanted.to_sql()
        rows = self.read().execute(
            f"select {_CELL} from cell where {condition} order by {ORDERS[order]} limit ? offset ?",
            (*values, limit, offset),
        )
        return list(map(_to_cell, rows))

    def count_cells(self, wanted: CellFilter) -> int:
        """Count the cells that a filter lets through."""
        condition, values = wanted.to_sql()
        query = f"select count(*) from cell where {condition}"
        return int(self.read().execute(query, values).fetchone()[0])

    def get_cells(self, numbers: Sequence[int]) -> list[Cell]:
        """Return the cells with these numbers that there are, in the order of the numbers."""
        found: dict[int, Cell] = {}
        for start in range(0, len(numbers), 500):
            part = numbers[start : start + 500]
            marks = ", ".join("?" * len(part))
            rows = self.read().execute(f"select {_CELL} from cell where number in ({marks})", part)
            found |= {row[0]: _to_cell(row) for row in rows}
        return [found[number] for number in numbers if number in found]

    def list_values(self, column: Literal["shown", "label", "sample"]) -> list[str]:
        """List what occurs in a column of the cells, without ""."""
        query = f"select distinct {column} from cell where {column} <> '' order by {column}"
        return self.remember(
            f"values of {column}", lambda: [row[0] for row in self.read().execute(query)]
        )

    def count_changes(self) -> dict[tuple[str, str], int]:
        """Count the cells of reviewed tasks by what was shown and what was submitted.

        "" is nothing: shown where a person added the cell, submitted where one deleted it.
        """
        return self.remember("changes", self._count_changes)

    def _count_changes(self) -> dict[tuple[str, str], int]:
        rows = self.read().execute(
            "select shown, label, count(*) from cell where state <> 'detected'"
            " group by shown, label"
        )
        return {(shown, label): number for shown, label, number in rows}

    def find_alike(self, number: int, wanted: CellFilter, limit: int) -> tuple[list[Cell], int]:
        """Find the cells that look most like one of them.

        Args:
            number: Of that one.
            wanted: Which cells are compared.
            limit: How many are returned.

        Returns:
            The cells, the most alike first, itself at the head; and how many were compared: those
            whose pictures were cut before.
        """
        row = self.read().execute("select vector from look where number = ?", (number,)).fetchone()
        if row is None:
            return self.get_cells([number]), 0
        numbers, looks = self._load_looks()
        condition, values = wanted.to_sql()
        query = f"select number from cell where {condition}"
        allowed = np.fromiter((r[0] for r in self.read().execute(query, values)), np.int64)
        kept = np.isin(numbers, allowed) & (numbers != number)
        numbers, likeness = numbers[kept], compare_looks(row[0], looks)[kept]
        order = np.argsort(-likeness, kind="stable")[: limit - 1]
        return self.get_cells([number, *numbers[order].tolist()]), len(numbers) + 1

    def _load_looks(self) -> tuple[np.ndarray, Looks]:
        """The numbers (N,) and descriptions of all cells that were cut."""
        (count,) = self.read().execute("select count(*) from look").fetchone()
        with self._writing:
            if self._looks is None or len(self._looks[0]) != count:
                rows = self.read().execute("select number, vector from look").fetchall()
                numbers = np.array([row[0] for row in rows], np.int64)
                self._looks = numbers, join_looks([row[1] for row in rows])
            return self._looks

    def was_seen(self, number: int) -> bool:
        """Whether the picture of a cell was cut, so that it can be compared."""
        query = "select 1 from look where number = ?"
        return self.read().execute(query, (number,)).fetchone() is not None

    def list_unseen(self, limit: int) -> list[Cell]:
        """List cells whose pictures were never cut."""
        names = ", ".join(f"cell.{name.strip()}" for name in _CELL.split(","))
        rows = self.read().execute(
            f"select {names} from cell left join look on look.number = cell.number"
            " where look.number is null order by cell.task limit ?",
            (limit,),
        )
        return list(map(_to_cell, rows))

    def list_corrections(self) -> tuple[list[Correction], int]:
        """List all corrections, and count the annotations that started from nothing."""
        rows = self.read().execute(
            "select task, annotation, version, seconds, edits from correction order by annotation"
        )
        corrections = [
            Correction(
                task, annotation, version, seconds, tuple(Edit(*e) for e in json.loads(edits))
            )
            for task, annotation, version, seconds, edits in rows
        ]
        (unaided,) = self.read().execute("select sum(from_nothing) from task").fetchone()
        return corrections, int(unaided or 0)


def _to_cell(row: tuple[Any, ...]) -> Cell:
    number, task, region, x1, y1, x2, y2, *others = row
    return Cell(number, task, region, (x1, y1, x2, y2), *others)
