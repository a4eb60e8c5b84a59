"""What could not be done, and why: tasks that were left out, jobs that are tried again later."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select

from ml_backend.state.store import Store
from ml_backend.state.tables import left_out, trouble, wait
from ml_backend.system.database import remove_rows, replace_rows
from ml_backend.system.printable import escape_controls


class Failures(Store):
    """The tasks left out and the jobs that wait for another try, of all projects."""

    # Tasks that could not be pre-annotated.

    def add_left_out(self, project: int, reasons: Sequence[tuple[int, str]]) -> None:
        """Note tasks that could not be pre-annotated: (task, reason) of each.

        What is no text in a reason is escaped.
        """
        now = time.time()
        rows = [
            {"project": project, "task": task, "reason": escape_controls(reason), "at": now}
            for task, reason in reasons
        ]
        with self._database.begin() as connection:
            replace_rows(connection, left_out, rows)

    def remove_left_out(self, project: int, tasks: Sequence[int]) -> None:
        """Forget that tasks were left out: they were pre-annotated after all."""
        keys = [{"project": project, "task": task} for task in tasks]
        with self._database.begin() as connection:
            remove_rows(connection, left_out, keys)

    def list_left_out(self, project: int | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the tasks left out, newest first.

        Args:
            project: Of this project; of all where it is None.
            limit: How many at most.

        Returns:
            `project`, `task`, `reason` and `at` (seconds since 1970) of each.
        """
        query = select(left_out).order_by(left_out.c.at.desc()).limit(limit)
        if project is not None:
            query = query.where(left_out.c.project == project)
        with self._database.begin() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    # Jobs that could not be done.

    def keep_trouble(self, project: int, job: str, reason: str, seconds: float) -> None:
        """Note why a job of a worker could not be done, and for how long it waits now."""
        now = time.time()
        key = {"project": project, "job": job}
        failures = self.count_failures(project, job) + 1
        waits = {**key, "failures": failures, "failed": now, "until": now + seconds}
        with self._database.begin() as connection:
            replace_rows(
                connection, trouble, [{**key, "reason": escape_controls(reason), "at": now}]
            )
            replace_rows(connection, wait, [waits])

    def clear_trouble(self, project: int, job: str) -> None:
        """Forget that a job could not be done, because now it was."""
        with self._database.begin() as connection:
            for table in (trouble, wait):
                mine = (table.c.project == project) & (table.c.job == job)
                connection.execute(delete(table).where(mine))

    def list_troubles(self, project: int) -> list[tuple[str, str, float]]:
        """Return (job, reason, seconds since 1970) of what could not be done."""
        query = (
            select(trouble.c.job, trouble.c.reason, trouble.c.at)
            .where(trouble.c.project == project)
            .order_by(trouble.c.at)
        )
        with self._database.begin() as connection:
            return [(job, reason, at) for job, reason, at in connection.execute(query)]

    def count_failures(self, project: int, job: str) -> int:
        """Count how often a job failed since it was done last, or since the waits were ended."""
        query = select(wait.c.failures).where(wait.c.project == project, wait.c.job == job)
        with self._database.begin() as connection:
            return connection.execute(query).scalar_one_or_none() or 0

    def is_put_off(self, project: int, job: str, asked: float | None = None) -> bool:
        """Tell whether a job that failed still has to wait, whichever worker tried it.

        Args:
            project: The project's id.
            job: The job.
            asked: When a person asked for it (seconds since 1970). Who asks after the failure
                is not kept waiting for it.
        """
        query = select(wait.c.failed, wait.c.until).where(
            wait.c.project == project, wait.c.job == job
        )
        with self._database.begin() as connection:
            row = connection.execute(query).one_or_none()
        # A clock that was set back since must not let it wait for long.
        return (
            row is not None
            and row.failed <= time.time() < row.until
            and (asked is None or asked <= row.failed)
        )

    def end_waits(self) -> None:
        """Let every job be tried at once: a worker starts, which may be what was missing."""
        with self._database.begin() as connection:
            connection.execute(delete(wait))
