"""The connected projects, and the notes that the server leaves for the worker.

One SQLite file, shared by the server's threads and the worker. A note is only a hint
("something changed"): the truth about annotations stays in Label Studio.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ml_backend.dataset.corrections import ShownRegions
from ml_backend.system.printable import escape_controls
from ml_backend.system.private_files import create_private
from ml_backend.system.sqlite_files import open_transaction

# changed: annotations or tasks changed. train: a person pressed Start training.
# publish: tasks may lack pre-annotations of the champion.
Note = Literal["changed", "train", "publish"]

# learn: what teaches a detector most comes first. count: tiles are drawn by lot, with known
# probabilities, so that what is reviewed tells how many cells there are.
Goal = Literal["learn", "count"]

# Tables of what goes with a project; its history stays.
_OF_PROJECTS = (
    "note", "left_out", "trouble", "strategy", "goal", "agreement", "estimate", "polled",
)  # fmt: skip

# Tasks whose scores say how a version's scores of a project are distributed.
_ENOUGH = 20

# The strategy of all scores that were made before there were others.
_FIRST_STRATEGY = "certainty"

_SCHEMA = """
create table if not exists project (
    id integer primary key, url text not null, token text not null,
    title text not null, label_config text not null
);
create table if not exists note (
    project integer not null, kind text not null, first real not null, last real not null,
    primary key (project, kind)
);
create table if not exists left_out (
    project integer not null, task integer not null, reason text not null, at real not null,
    primary key (project, task)
);
create table if not exists attempt (
    project integer not null, snapshot text not null, outcome text not null, at real not null
);
create table if not exists agreement (project integer primary key, measured text not null);
create table if not exists polled (project integer primary key);
create table if not exists trouble (
    project integer not null, job text not null, reason text not null, at real not null,
    primary key (project, job)
);
create table if not exists request (
    project integer not null, what text not null, person text not null, at real not null
);
create table if not exists strategy (project integer primary key, name text not null);
create table if not exists estimate (project integer primary key, found text not null);
create table if not exists goal (project integer primary key, goal text not null);
create table if not exists queue_scores (
    project integer not null, version text not null, strategy text not null,
    among text not null, primary key (project, version, strategy)
);
create table if not exists scored (
    project integer not null, version text not null, strategy text not null, until integer,
    primary key (project, version)
);
create table if not exists shown (
    project integer not null, annotation integer not null, version text not null,
    result text not null, primary key (project, annotation)
);
"""


@dataclass(frozen=True)
class Project:
    """A connected Label Studio project."""

    id: int
    url: str
    token: str
    title: str
    label_config: str


class NotConnected(LookupError):
    """The project is not connected to this data folder."""


class OtherStudio(ValueError):
    """The data folder already serves another Label Studio."""


class Projects:
    """The store in the data folder; cheap to open, safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open the store, and make it where it is not there.

        Args:
            path: The SQLite file; readable by its owner only, since it holds tokens.
        """
        self._path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private(path)  # it holds tokens; SQLite gives its logs the same mode
        with self._open() as database:
            database.execute("pragma journal_mode = wal")
            database.executescript(_SCHEMA)
            _take_over_certainties(database)
        path.chmod(0o600)
        # The last connection that closes moves the whole log into the database, which all
        # others wait for. This one stays open: 2,000 notes took a fifth of the time with it.
        self._stays = sqlite3.connect(path, check_same_thread=False)
        self._stays.execute("select count(*) from note").fetchone()
        # Notes of threads that wait for their turn to write.
        self._waiting: dict[tuple[int, Note], tuple[float, float]] = {}
        self._waiting_lock, self._turn = threading.Lock(), threading.Lock()

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return open_transaction(self._path)

    # The projects.

    def connect(self, project: Project) -> None:
        """Add a project, or update it.

        Raises:
            OtherStudio: The data folder's projects live on another server: ids of two servers
                would be mistaken for each other.
        """
        others = {known.url.rstrip("/") for known in self.list_projects()} - {
            project.url.rstrip("/")
        }
        if others:
            raise OtherStudio(
                f"this data folder already serves projects of {', '.join(sorted(others))}; "
                f"use another --data-dir for {project.url}"
            )
        with self._open() as database:
            database.execute(
                "insert or replace into project values (?, ?, ?, ?, ?)",
                (project.id, project.url, project.token, project.title, project.label_config),
            )

    def move(self, old: str, url: str, token: str) -> None:
        """Note that the server at `old` answers at `url` now, or with another token."""
        with self._open() as database:
            database.execute(
                "update project set url = ?, token = ? where rtrim(url, '/') = ?",
                (url, token, old.rstrip("/")),
            )

    def forget(self, project: int) -> None:
        """Remove a project that was deleted in Label Studio; its versions stay."""
        with self._open() as database:
            database.execute("delete from project where id = ?", (project,))
            kept = (
                "note",
                "left_out",
                "trouble",
                "strategy",
                "goal",
                "agreement",
                "estimate",
                "polled",
            )
            for table in kept:
                database.execute(f"delete from {table} where project = ?", (project,))  # noqa: S608

    def update_labels(self, project: int, label_config: str) -> None:
        """Keep a project's labelling configuration (XML), which changed in Label Studio."""
        with self._open() as database:
            database.execute(
                "update project set label_config = ? where id = ?", (label_config, project)
            )

    def get(self, project: int) -> Project:
        """Return a connected project.

        Raises:
            NotConnected: It is not one of this data folder.
        """
        row = None
        # An id too large for SQLite's integers belongs to no project.
        with self._open() as database, suppress(OverflowError):
            row = database.execute("select * from project where id = ?", (project,)).fetchone()
        if row is None:
            raise NotConnected(
                f"project {project} is not connected; run: "
                f"cytoloop connect --url URL --token - --project {project}"
            )
        return Project(*row)

    def list_projects(self) -> list[Project]:
        """Return the connected projects, by their ids."""
        with self._open() as database:
            return [Project(*row) for row in database.execute("select * from project order by id")]

    def choose_polling(self, project: int, polled: bool) -> None:
        """Note whether the worker has to ask what changed, because Label Studio tells nothing."""
        with self._open() as database:
            database.execute("delete from polled where project = ?", (project,))
            if polled:
                database.execute("insert into polled values (?)", (project,))

    def is_polled(self, project: int) -> bool:
        """Tell whether the worker has to ask what changed in a project."""
        with self._open() as database:
            row = database.execute("select 1 from polled where project = ?", (project,)).fetchone()
        return row is not None

    # Notes from the server to the worker.

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
                notes, self._waiting = self._waiting, {}
            if not notes:
                return  # whose turn it was has written ours
            try:
                with self._open() as database:
                    database.executemany(
                        "insert into note values (?, ?, ?, ?)"
                        " on conflict (project, kind) do update set last = excluded.last",
                        [(*key, *times) for key, times in notes.items()],
                    )
            except BaseException:
                with self._waiting_lock:  # the next one tries with all of them
                    self._waiting = {**notes, **self._waiting}
                raise

    def list_notes(self) -> list[tuple[int, Note, float, float]]:
        """Return (project, kind, time of the first, time of the last) of every note.

        Times are seconds since 1970.
        """
        with self._open() as database:
            return list(database.execute("select project, kind, first, last from note"))

    def remove_note(self, project: int, note: Note, last: float) -> None:
        """Remove a note that was acted on, unless it was left again since `last`."""
        with self._open() as database:
            database.execute(
                "delete from note where project = ? and kind = ? and last <= ?",
                (project, note, last),
            )

    # Tasks that could not be pre-annotated, with the reason.

    def add_left_out(self, project: int, reasons: Sequence[tuple[int, str]]) -> None:
        """Note tasks that could not be pre-annotated: (task, reason) of each.

        What is no text in a reason is escaped.
        """
        now = time.time()
        with self._open() as database:
            database.executemany(
                "insert or replace into left_out values (?, ?, ?, ?)",
                [(project, task, escape_controls(reason), now) for task, reason in reasons],
            )

    def remove_left_out(self, project: int, tasks: Sequence[int]) -> None:
        """Forget that tasks were left out: they were pre-annotated after all."""
        with self._open() as database:
            database.executemany(
                "delete from left_out where project = ? and task = ?",
                [(project, task) for task in tasks],
            )

    def list_left_out(self, project: int | None = None, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the tasks left out, newest first.

        Args:
            project: Of this project; of all where it is None.
            limit: How many at most.

        Returns:
            `project`, `task`, `reason` and `at` (seconds since 1970) of each.
        """
        with self._open() as database:
            rows = database.execute(
                "select project, task, reason, at from left_out"
                " where ?1 is null or project = ?1 order by at desc limit ?2",
                (project, limit),
            )
            names = ("project", "task", "reason", "at")
            return [dict(zip(names, row, strict=True)) for row in rows]

    # The queue.

    def choose_strategy(self, project: int, name: str) -> None:
        """Let a strategy order the project's queue from the next publishing on."""
        with self._open() as database:
            database.execute("insert or replace into strategy values (?, ?)", (project, name))

    def get_strategy(self, project: int) -> str | None:
        """Read the strategy that was chosen for the project; None where none was."""
        with self._open() as database:
            row = database.execute(
                "select name from strategy where project = ?", (project,)
            ).fetchone()
        return None if row is None else row[0]

    def choose_goal(self, project: int, goal: Goal) -> None:
        """Let the project's queue serve a goal from the next publishing on."""
        with self._open() as database:
            database.execute("insert or replace into goal values (?, ?)", (project, goal))

    def get_goal(self, project: int) -> Goal:
        """Read the goal that the project's queue serves."""
        with self._open() as database:
            row = database.execute("select goal from goal where project = ?", (project,)).fetchone()
        return "learn" if row is None else row[0]

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
        key = (project, version, strategy)
        with self._open() as database:
            if len(found) >= _ENOUGH:
                database.execute(
                    "insert or ignore into queue_scores values (?, ?, ?, ?)",
                    (*key, json.dumps(sorted(found))),
                )
            row = database.execute(
                "select among from queue_scores where project = ? and version = ? and strategy = ?",
                key,
            ).fetchone()
        return found if row is None else json.loads(row[0])

    def rescore_after(self, project: int, version: str, strategy: str) -> int | None:
        """Read which scores in Label Studio do not follow a strategy yet.

        Returns:
            The id of a task: those of the version's pre-annotations with a greater one may still
            have the score of another strategy. None where all follow this one.
        """
        with self._open() as database:
            row = database.execute(
                "select strategy, until from scored where project = ? and version = ?",
                (project, version),
            ).fetchone()
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
        with self._open() as database:
            database.execute(
                "insert or replace into scored values (?, ?, ?, ?)",
                (project, version, strategy, until),
            )

    # How far several annotators agree.

    def keep_agreement(self, project: int, measured: Mapping[str, Any]) -> bool:
        """Keep what was measured of a project's annotators; return whether it changed."""
        text = json.dumps(measured, sort_keys=True)
        with self._open() as database:
            row = database.execute(
                "select measured from agreement where project = ?", (project,)
            ).fetchone()
            if row is not None and row[0] == text:
                return False
            database.execute("insert or replace into agreement values (?, ?)", (project, text))
        return True

    def get_agreement(self, project: int) -> dict[str, Any]:
        """Return what was measured last: see `retraining.annotators`; {} where nothing was."""
        with self._open() as database:
            row = database.execute(
                "select measured from agreement where project = ?", (project,)
            ).fetchone()
        return {} if row is None else json.loads(row[0])

    # What a project that counts holds in all.

    def keep_estimate(self, project: int, found: Mapping[str, Any]) -> None:
        """Keep what was estimated last: see `counting.records.to_json`."""
        with self._open() as database:
            database.execute(
                "insert or replace into estimate values (?, ?)", (project, json.dumps(found))
            )

    def get_estimate(self, project: int) -> dict[str, Any] | None:
        """Return what was estimated last; None where nothing was."""
        with self._open() as database:
            row = database.execute(
                "select found from estimate where project = ?", (project,)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    # Trainings that were tried, whatever came of them.

    def record_attempt(self, project: int, snapshot: str, outcome: str) -> None:
        """Note that a snapshot was trained on, and what came of it in a line."""
        with self._open() as database:
            database.execute(
                "insert into attempt values (?, ?, ?, ?)", (project, snapshot, outcome, time.time())
            )

    def get_last_attempt(self, project: int) -> str | None:
        """Return the snapshot that was trained on last; None where none was."""
        with self._open() as database:
            row = database.execute(
                "select snapshot from attempt where project = ? order by at desc limit 1",
                (project,),
            ).fetchone()
        return None if row is None else row[0]

    def get_last_outcome(self, project: int) -> str | None:
        """Return what came of the last training, in a line; None where none was."""
        with self._open() as database:
            row = database.execute(
                "select outcome from attempt where project = ? order by at desc limit 1",
                (project,),
            ).fetchone()
        return None if row is None else row[0]

    def list_attempts(self, project: int, limit: int = 20) -> list[tuple[str, float]]:
        """Return (what came of it, seconds since 1970) of the trainings, newest first."""
        with self._open() as database:
            return list(
                database.execute(
                    "select outcome, at from attempt where project = ? order by at desc limit ?",
                    (project, limit),
                )
            )

    # What keeps a job from being done, until it is done after all.

    def keep_trouble(self, project: int, job: str, reason: str) -> None:
        """Note why a job of the worker could not be done."""
        with self._open() as database:
            database.execute(
                "insert or replace into trouble values (?, ?, ?, ?)",
                (project, job, escape_controls(reason), time.time()),
            )

    def clear_trouble(self, project: int, job: str) -> None:
        """Forget that a job could not be done, because now it was."""
        with self._open() as database:
            database.execute("delete from trouble where project = ? and job = ?", (project, job))

    def list_troubles(self, project: int) -> list[tuple[str, str, float]]:
        """Return (job, reason, seconds since 1970) of what could not be done."""
        with self._open() as database:
            return list(
                database.execute(
                    "select job, reason, at from trouble where project = ? order by at", (project,)
                )
            )

    # What people asked for on the pages.

    def record_request(self, project: int, what: str, person: str) -> None:
        """Keep who asked for something, and when."""
        with self._open() as database:
            database.execute(
                "insert into request values (?, ?, ?, ?)", (project, what, person, time.time())
            )

    def list_requests(self, project: int, limit: int = 20) -> list[tuple[str, str, float]]:
        """Return (what, who, seconds since 1970) of what was asked for, newest first."""
        with self._open() as database:
            return list(
                database.execute(
                    "select what, person, at from request where project = ?"
                    " order by at desc limit ?",
                    (project, limit),
                )
            )

    # Pre-annotations that annotations started from: whoever deletes one in Label Studio,
    # or its link, what the annotator saw is still known.

    def keep_shown_regions(self, project: int, shown: Mapping[int, ShownRegions]) -> None:
        """Copy the regions that annotations started from; the first copy of each stays.

        Args:
            project: The project's id.
            shown: The regions by annotation id.
        """
        with self._open() as database:
            database.executemany(
                "insert or ignore into shown values (?, ?, ?, ?)",
                [
                    (project, annotation, _to_text(regions.version), json.dumps(regions.result))
                    for annotation, regions in shown.items()
                ],
            )

    def get_shown_regions(
        self, project: int, versions: Sequence[str] = ()
    ) -> dict[int, ShownRegions]:
        """Return the copied regions by annotation id.

        Args:
            project: The project's id.
            versions: Only those that these versions drew, where some are named.
        """
        query = "select annotation, version, result from shown where project = ?"
        if versions:
            query += f" and version in ({', '.join('?' * len(versions))})"
        with self._open() as database:
            rows = database.execute(query, (project, *versions))
            return {
                number: ShownRegions(version, json.loads(result))
                for number, version, result in rows
            }


def _to_text(text: str) -> str:
    """Write out half letters (lone surrogates), which JSON may hold and SQLite refuses."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _take_over_certainties(database: sqlite3.Connection) -> None:
    """Move what an earlier release kept, which knew one strategy, to where all are kept."""
    database.execute("begin immediate")  # two processes may open the folder at once
    tables = database.execute("select 1 from sqlite_master where name = 'certainty'")
    if tables.fetchone():
        database.execute(
            "insert or ignore into queue_scores select project, version, ?, among from certainty",
            (_FIRST_STRATEGY,),
        )
        database.execute("drop table certainty")
