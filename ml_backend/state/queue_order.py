"""What puts a project's queue in order, and which scores of it Label Studio has already."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from sqlalchemy import Connection, inspect, select, text

from ml_backend.state.store import Store
from ml_backend.state.tables import foreground, queue_scores, scored
from ml_backend.state.tables import goal as goals
from ml_backend.state.tables import strategy as strategies
from ml_backend.system.database import Database, add_rows, read_distinct, replace_rows

# learn: what teaches a detector most comes first. count: tiles are drawn by lot, with known
# probabilities, so that what is reviewed tells how many cells there are.
Goal = Literal["learn", "count"]

# Tasks whose scores say how a version's scores of a project are distributed.
_ENOUGH = 20

# The strategy of all scores that were made before there were others.
_FIRST_STRATEGY = "certainty"


class QueueOrder(Store):
    """Strategy, goal and scores of every project's queue."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        with database.begin_alone() as connection:  # two processes may open it at once
            _take_over_certainties(connection)

    def choose_strategy(self, project: int, name: str) -> None:
        """Let a strategy order the project's queue from the next publishing on."""
        with self._database.begin() as connection:
            replace_rows(connection, strategies, [{"project": project, "name": name}])

    def get_strategy(self, project: int) -> str | None:
        """Read the strategy that was chosen for the project; None where none was."""
        query = select(strategies.c.name).where(strategies.c.project == project)
        with self._database.begin() as connection:
            return connection.execute(query).scalar_one_or_none()

    def choose_goal(self, project: int, goal: Goal) -> None:
        """Let the project's queue serve a goal from the next publishing on."""
        with self._database.begin() as connection:
            replace_rows(connection, goals, [{"project": project, "goal": goal}])

    def get_goal(self, project: int) -> Goal:
        """Read the goal that the project's queue serves."""
        query = select(goals.c.goal).where(goals.c.project == project)
        with self._database.begin() as connection:
            return connection.execute(query).scalar_one_or_none() or "learn"

    def keep_queue_scores(
        self, project: int, version: str, strategy: str, found: Sequence[float] = ()
    ) -> Sequence[float]:
        """Return the scores among which a version's held-out tasks get their places.

        They are those of the first twenty tasks or more that were scored together: later tasks
        then come where they would have come, and a version that returns scores everything as it
        was.

        Args:
            project: The project's id.
            version: What drew the tasks.
            strategy: What scored them.
            found: The scores of tasks that are scored together now; kept where they are the
                first.
        """
        key = {"project": project, "version": version, "strategy": strategy}
        with self._database.begin() as connection:
            if len(found) >= _ENOUGH:
                among = json.dumps(sorted(found))
                add_rows(connection, queue_scores, [{**key, "among": among}])
            kept = connection.execute(
                select(queue_scores.c.among).filter_by(**key)
            ).scalar_one_or_none()
        return found if kept is None else json.loads(kept)

    def count_foreground(self, project: int, version: str, shown: int, seen: int) -> float:
        """Count which tasks hold foreground, as a version sees them.

        A task that is scored again is counted again, which leaves the share what it is.

        Args:
            project: The project's id.
            version: What drew the tasks.
            shown: How many of the tasks that are scored together now hold some.
            seen: How many they are.

        Returns:
            The share of all the tasks that were ever counted, 0..1, exclusive: by the rule of
            succession, (shown + 1) / (seen + 2), since the first few say little.
        """
        key = {"project": project, "version": version}
        query = select(foreground.c.shown, foreground.c.seen).filter_by(**key)
        with self._database.begin_alone() as connection:
            row = connection.execute(query).one_or_none()
            if row is not None:
                shown, seen = shown + row.shown, seen + row.seen
            replace_rows(connection, foreground, [{**key, "shown": shown, "seen": seen}])
        return (shown + 1) / (seen + 2)

    def list_scoring_versions(self) -> set[str]:
        """List the versions that put the queue of any project in order."""
        with self._database.begin() as connection:
            return read_distinct(connection, queue_scores.c.version, scored.c.version)

    def rescore_after(self, project: int, version: str, strategy: str) -> int | None:
        """Read which scores in Label Studio do not follow a strategy yet.

        Returns:
            The id of a task: those of the version's pre-annotations with a greater one may still
            have the score of another strategy. None where all follow this one.
        """
        query = select(scored.c.strategy, scored.c.until).where(
            scored.c.project == project, scored.c.version == version
        )
        with self._database.begin() as connection:
            row = connection.execute(query).one_or_none()
        followed, until = row or (_FIRST_STRATEGY, None)
        return until if followed == strategy else 0

    def note_rescored(
        self, project: int, version: str, strategy: str, until: int | None = None
    ) -> None:
        """Note that a version's scores in Label Studio follow a strategy.

        Args:
            project: The project's id.
            version: Whose pre-annotations have the scores.
            strategy: What gave the scores.
            until: The id of the last task whose score was changed; None where all were.
        """
        row = {"project": project, "version": version, "strategy": strategy, "until": until}
        with self._database.begin() as connection:
            replace_rows(connection, scored, [row])


def _take_over_certainties(connection: Connection) -> None:
    """Move what an earlier release kept, which knew one strategy, to where all are kept."""
    if not inspect(connection).has_table("certainty"):
        return
    former = connection.execute(text("select project, version, among from certainty")).mappings()
    rows = [{**row, "strategy": _FIRST_STRATEGY} for row in former]
    add_rows(connection, queue_scores, rows)
    connection.execute(text("drop table certainty"))
