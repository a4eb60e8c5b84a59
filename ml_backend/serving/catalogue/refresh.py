"""Brings a catalogue up to what Label Studio holds, reading only what may have changed.

Label Studio notes on each task when it was made or annotated, so those that changed since the last
time are one query. It does not note there that pre-annotations were imported: tasks that a new
version drew are found by counting them, and read in the order in which they are published.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ml_backend.dataset.corrections import ShownRegions, find_shown_regions
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.serving.catalogue.cells import read_task_cells
from ml_backend.serving.catalogue.store import Catalogue
from ml_backend.system.batching import make_batches

# What is read again may have been changed while the last time was read, or clocks may differ.
_OVERLAP = timedelta(seconds=60)
_BATCH = 200
# How cells are read; a catalogue that was read otherwise is read anew.
_READING = "called by choice"

GetShown = Callable[[], Mapping[int, ShownRegions]]


@dataclass(frozen=True)
class Source:
    """Where the tasks of a project are read.

    Attributes:
        studio: Its Label Studio.
        project: Its id there.
        label_config: Its labels, XML.
        version: Whose pre-annotations are shown.
        get_shown: Returns the regions that annotations started from and that are kept here.
    """

    studio: Studio
    project: int
    label_config: str
    version: str
    get_shown: GetShown


def refresh(
    catalogue: Catalogue,
    source: Source,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> int:
    """Read what changed.

    Args:
        catalogue: Is brought up to date.
        source: What is read.
        progress: Called with the number of tasks that are known, and of how many.

    Returns:
        How many tasks were read.

    Raises:
        StudioUnreachable: See `Studio`, also for the other errors of its requests.
    """
    began = datetime.now(UTC)
    total = source.studio.get_project(source.project).tasks
    reading = f"{_READING}\n{source.label_config}"
    settings = f"{source.version}\n{reading}"
    since = catalogue.get_fact("read")
    if catalogue.get_fact("settings") != settings:
        # Other labels make other cells; another version is found below, by what it drew.
        if catalogue.get_fact("settings").partition("\n")[2] != reading:
            since = ""
        catalogue.set_fact("settings", settings)
    after = None
    if since:
        after = (datetime.fromisoformat(since) - _OVERLAP).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    number = _read(
        catalogue,
        source,
        source.studio.list_changed_tasks(source.project, after),
        lambda done: progress(done, total),
    )
    number += _read_drawn(catalogue, source)
    known = catalogue.list_task_ids()
    if len(known) > total:
        there = {task["id"] for task in source.studio.list_tasks(source.project, full=False)}
        catalogue.remove(set(known) - there)
    catalogue.set_fact("read", began.isoformat())
    return number


def _read(
    catalogue: Catalogue,
    source: Source,
    tasks: Iterable[dict[str, Any]],
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    labels, kept, number = parse_labels(source.label_config), source.get_shown(), 0
    for batch in make_batches(tasks, _BATCH):
        rows = [
            read_task_cells(task, {**kept, **find_shown_regions(task)}, labels, source.version)
            for task in batch
        ]
        catalogue.put(rows, source.version)
        number += len(rows)
        progress(number)
    return number


def _read_drawn(catalogue: Catalogue, source: Source) -> int:
    """Read the tasks that the version has drawn since, in the order of their ids."""
    drawn = source.studio.count_drawn(source.project, source.version)
    number = 0
    for ids in make_batches(catalogue.list_task_ids(without=source.version), _BATCH):
        if catalogue.count_drawn(source.version) >= drawn:
            break
        tasks = source.studio.list_tasks(source.project, ids=ids)
        number += _read(
            catalogue, source, (task for task in tasks if _is_drawn(task, source.version))
        )
    return number


def _is_drawn(task: dict[str, Any], version: str) -> bool:
    return any(held.get("model_version") == version for held in task.get("predictions") or [])


@dataclass
class RefreshState:
    """How a refresh goes.

    Attributes:
        running: It goes on now.
        done: Tasks that were read.
        total: Tasks that the project holds; 0 before that is known.
        problem: Why the last one failed; "" where it went well.
        finished: When the last one ended, in seconds since 1970; None before the first.
    """

    running: bool = False
    done: int = 0
    total: int = 0
    problem: str = ""
    finished: float | None = None


class Refresher:
    """Refreshes a catalogue in the background, while somebody looks at it.

    Args:
        catalogue: Is brought up to date.
        seconds: The shortest time between two refreshes.
    """

    def __init__(self, catalogue: Catalogue, seconds: float = 15.0) -> None:
        self.state = RefreshState()
        self._catalogue = catalogue
        self._seconds = seconds
        self._lock = threading.Lock()

    def start(self, source: Source, *, now: bool = False) -> None:
        """Start a refresh, unless one runs or the last one is fresh; does not wait for it.

        Args:
            source: What is read.
            now: However fresh the last one is.
        """
        with self._lock:
            finished = self.state.finished
            fresh = finished is not None and time.time() - finished < self._seconds
            if self.state.running or (fresh and not now):
                return
            self.state.running = True
        threading.Thread(target=self._refresh, args=(source,), daemon=True).start()

    def _refresh(self, source: Source) -> None:
        state = self.state

        def note(done: int, total: int) -> None:
            state.done, state.total = done, total

        try:
            refresh(self._catalogue, source, note)
            state.problem = ""
        except Exception as error:  # shown on the page; the next look tries again
            state.problem = str(error) or type(error).__name__
        finally:
            state.finished, state.running = time.time(), False


class Catalogues:
    """The catalogues of all projects, each opened when first asked for; safe among threads.

    Args:
        folder: Holds a file for each project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: dict[int, tuple[Catalogue, Refresher]] = {}
        self._lock = threading.Lock()

    def get(self, project: int) -> tuple[Catalogue, Refresher]:
        """Return the catalogue of a project, and what brings it up to date."""
        with self._lock:
            if project not in self._opened:
                catalogue = Catalogue(self._folder / f"{project}.sqlite")
                self._opened[project] = catalogue, Refresher(catalogue)
            return self._opened[project]
