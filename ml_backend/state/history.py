"""What was tried and asked for: trainings, whatever came of them, and requests on the pages."""

from __future__ import annotations

import time

from sqlalchemy import Row, Select, insert, select

from ml_backend.state.store import Store
from ml_backend.state.tables import attempt, request


class History(Store):
    """The trainings and requests of every project."""

    # Trainings.

    def record_attempt(self, project: int, snapshot: str, outcome: str) -> None:
        """Note that a snapshot was trained on, and what came of it in a line."""
        row = {"project": project, "snapshot": snapshot, "outcome": outcome, "at": time.time()}
        with self._database.begin() as connection:
            connection.execute(insert(attempt), row)

    def get_last_attempt(self, project: int) -> str | None:
        """Return the snapshot that was trained on last; None where none was."""
        rows = self._list(_select_attempts(project).limit(1))
        return rows[0].snapshot if rows else None

    def get_last_outcome(self, project: int) -> str | None:
        """Return what came of the last training, in a line; None where none was."""
        rows = self._list(_select_attempts(project).limit(1))
        return rows[0].outcome if rows else None

    def list_attempts(self, project: int, limit: int = 20) -> list[tuple[str, float]]:
        """Return (what came of it, seconds since 1970) of the trainings, newest first."""
        return [(row.outcome, row.at) for row in self._list(_select_attempts(project).limit(limit))]

    # What people asked for.

    def record_request(self, project: int, what: str, person: str) -> None:
        """Keep who asked for something, and when."""
        row = {"project": project, "what": what, "person": person, "at": time.time()}
        with self._database.begin() as connection:
            connection.execute(insert(request), row)

    def list_requests(self, project: int, limit: int = 20) -> list[tuple[str, str, float]]:
        """Return (what, who, seconds since 1970) of what was asked for, newest first."""
        mine = select(request).where(request.c.project == project)
        rows = self._list(mine.order_by(request.c.at.desc()).limit(limit))
        return [(row.what, row.person, row.at) for row in rows]

    def _list(self, query: Select) -> list[Row]:
        with self._database.begin() as connection:
            return list(connection.execute(query))


def _select_attempts(project: int) -> Select:
    return select(attempt).where(attempt.c.project == project).order_by(attempt.c.at.desc())
