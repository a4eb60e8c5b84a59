"""What people decided cell by cell, kept here until a whole task is decided.

A decision is one of confirm, reject and rename. Each goes into a batch, what was decided at one
stroke, and the newest batch of a person can be undone.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ml_backend.serving.catalogue.store import Catalogue

DecisionKind = Literal["confirm", "reject", "rename"]
KINDS: tuple[DecisionKind, ...] = ("confirm", "reject", "rename")

# Looking at a batch of cells never counts for longer, in seconds: the person was away.
_LONGEST_LOOK = 60.0


@dataclass(frozen=True)
class Decision:
    """What a person decided about a cell.

    Attributes:
        number: Of the cell.
        kind: What was decided.
        label: The new label, of a rename; else "".
        person: The user of Label Studio who decided.
        seconds: How long the person looked at it, as far as is known.
    """

    number: int
    kind: DecisionKind
    label: str
    person: int
    seconds: float = 0.0


def decide(
    catalogue: Catalogue, person: int, numbers: Sequence[int], kind: DecisionKind, label: str = ""
) -> list[int]:
    """Keep a decision about cells that nobody has annotated.

    Args:
        catalogue: Of the project.
        person: Who decides.
        numbers: The cells; those that are reviewed already are left alone.
        kind: What is decided.
        label: The new label, of a rename.

    Returns:
        The cells that were decided.
    """
    cells = [cell for cell in catalogue.get_cells(numbers) if cell.state == "detected"]
    if not cells:
        return []
    now = time.time()
    with catalogue.write() as database:
        last = database.execute("select max(at) from batch where person = ?", (person,)).fetchone()[
            0
        ]
        look = min(now - last, _LONGEST_LOOK) if last else 0.0
        before = _list_rows(database, [cell.number for cell in cells])
        made = database.execute(
            "insert into batch (person, at, before) values (?, ?, ?)",
            (person, now, json.dumps({"rows": before, "cells": [c.number for c in cells]})),
        )
        database.executemany(
            "insert or replace into decision values (?, ?, ?, ?, ?, ?, ?)",
            [
                (cell.number, cell.task, person, kind, label, made.lastrowid, look / len(cells))
                for cell in cells
            ],
        )
    return [cell.number for cell in cells]


def list_decisions(catalogue: Catalogue, numbers: Sequence[int]) -> dict[int, Decision]:
    """Return what was decided about these cells, by number; nothing about the others."""
    rows = _list_rows(catalogue.read(), numbers)
    return {row[0]: _to_decision(row) for row in rows}


def list_task_decisions(catalogue: Catalogue, task: int) -> dict[int, Decision]:
    """Return what was decided about a task's cells, by number."""
    rows = catalogue.read().execute("select * from decision where task = ?", (task,))
    return {row[0]: _to_decision(row) for row in rows}


def list_whole_tasks(catalogue: Catalogue) -> list[int]:
    """List the tasks of which every cell is decided, by one person, and nothing is stored yet."""
    rows = catalogue.read().execute(
        "select decision.task from decision join task on task.id = decision.task"
        " where task.state = 'detected' group by decision.task"
        " having count(distinct decision.person) = 1 and count(*) ="
        " (select count(*) from cell where cell.task = decision.task)"
        " order by max(decision.batch)"
    )
    return [row[0] for row in rows]


def count_begun_tasks(catalogue: Catalogue) -> int:
    """Count the tasks of which some cells are decided, and not all."""
    query = (
        "select count(*) from (select task from decision group by task having count(*) <"
        " (select count(*) from cell where cell.task = decision.task))"
    )
    return int(catalogue.read().execute(query).fetchone()[0])


def note_stored(catalogue: Catalogue, task: int, annotation: int) -> None:
    """Keep which batch a stored annotation completed, and with what, so that it can be undone."""
    with catalogue.write() as database:
        rows = database.execute("select * from decision where task = ?", (task,)).fetchall()
        batch = max((row[5] for row in rows), default=0)
        database.execute(
            "insert or replace into stored values (?, ?, ?, ?)",
            (annotation, task, batch, json.dumps(rows)),
        )


def find_undoable(catalogue: Catalogue, person: int) -> tuple[int, list[tuple[int, int]]] | None:
    """Find the newest batch of a person, and (annotation, task) of what it completed."""
    database = catalogue.read()
    row = database.execute("select max(id) from batch where person = ?", (person,)).fetchone()
    if row[0] is None:
        return None
    stored = database.execute("select annotation, task from stored where batch = ?", row)
    return row[0], stored.fetchall()


def undo(catalogue: Catalogue, batch: int) -> list[int]:
    """Undo a batch: its cells are decided as before it, or not at all.

    What it completed must be gone from Label Studio and read anew before.

    Returns:
        The cells of the batch.
    """
    with catalogue.write() as database:
        (content,) = database.execute("select before from batch where id = ?", (batch,)).fetchone()
        before: dict[str, Any] = json.loads(content)
        stored = database.execute("select content from stored where batch = ?", (batch,)).fetchall()
        # Storing a task ended the decisions about its other cells: they are back.
        rows = [row for (kept,) in stored for row in json.loads(kept) if row[5] != batch]
        database.executemany(
            "delete from decision where number = ?", [(number,) for number in before["cells"]]
        )
        database.executemany(
            "insert or replace into decision values (?, ?, ?, ?, ?, ?, ?)",
            [*rows, *before["rows"]],
        )
        database.execute("delete from stored where batch = ?", (batch,))
        database.execute("delete from batch where id = ?", (batch,))
    return before["cells"]


def _list_rows(database: sqlite3.Connection, numbers: Sequence[int]) -> list[tuple]:
    rows: list[tuple] = []
    for start in range(0, len(numbers), 500):
        part = list(numbers[start : start + 500])
        marks = ", ".join("?" * len(part))
        rows += database.execute(f"select * from decision where number in ({marks})", part)
    return rows


def _to_decision(row: tuple[Any, ...]) -> Decision:
    number, _, person, kind, label, _, seconds = row
    return Decision(number, kind, label, person, seconds)
