"""Notes that the server leaves for the worker.

A note is only a hint ("something changed"): the truth about annotations stays in Label Studio.
"""

from __future__ import annotations

import threading
import time
from typing import Literal

from sqlalchemy import delete, select

from ml_backend.state.store import Store
from ml_backend.state.tables import note as notes
from ml_backend.system.database import Database, replace_rows

# changed: annotations or tasks changed. train: a person pressed Start training.
# publish: tasks may lack pre-annotations of the champion.
Note = Literal["changed", "train", "publish"]


class Notes(Store):
    """The notes for the worker."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # Notes of threads that wait for their turn to write.
        self._waiting: dict[tuple[int, Note], tuple[float, float]] = {}
        self._waiting_lock, self._turn = threading.Lock(), threading.Lock()

    def add_note(self, project: int, note: Note) -> None:
        """Leave a note for the worker; a second one of its kind only moves its time.

        It is back when it is on the disk. In a burst the threads take turns, and whose turn it
        is writes the notes of all that wait: 2,000 events in 10 s cost few transactions, where
        one for each let them wait for each other until SQLite gave up.
        """
        now = time.time()
        with self._waiting_lock:
            first, _ = self._waiting.get((project, note), (now, now))
            self._waiting[project, note] = first, now
        with self._turn:
            with self._waiting_lock:
                waiting, self._waiting = self._waiting, {}
            if not waiting:
                return  # whose turn it was has written ours
            rows = [
                {"project": number, "kind": kind, "first": first, "last": last}
                for (number, kind), (first, last) in waiting.items()
            ]
            try:
                with self._database.begin() as connection:
                    replace_rows(connection, notes, rows, keeping=["first"])
            except BaseException:
                with self._waiting_lock:  # the next one tries with all of them
                    self._waiting = {**waiting, **self._waiting}
                raise

    def list_notes(self) -> list[tuple[int, Note, float, float]]:
        """Return (project, kind, time of the first, time of the last) of every note.

        Times are seconds since 1970.
        """
        query = select(notes.c.project, notes.c.kind, notes.c.first, notes.c.last)
        with self._database.begin() as connection:
            return [
                (project, kind, first, last)
                for project, kind, first, last in connection.execute(query)
            ]

    def remove_note(self, project: int, note: Note, last: float) -> None:
        """Remove a note that was acted on, unless it was left again since `last`."""
        mine = (notes.c.project == project) & (notes.c.kind == note) & (notes.c.last <= last)
        with self._database.begin() as connection:
            connection.execute(delete(notes).where(mine))
