"""Stores in Label Studio what was decided about whole tasks, and takes it back.

A task is stored once every cell that it shows is decided, under the name of the person who
decided. Before that it is asked for again: who annotated it in Label Studio meanwhile, or has a
draft of it there, is not overruled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ml_backend.dataset.corrections import find_shown_regions
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.label_studio.session import STUDIO_ERRORS
from ml_backend.serving.catalogue.annotation import write_annotation
from ml_backend.serving.catalogue.cells import read_task_cells
from ml_backend.serving.catalogue.decisions import (
    Decision,
    find_undoable,
    list_task_decisions,
    list_whole_tasks,
    note_stored,
    undo,
)
from ml_backend.serving.catalogue.store import Catalogue, CellFilter
from ml_backend.state.projects import Project


class TaskChanged(ValueError):
    """The task is not as it was when it was decided; why, in one line."""


class Storer:
    """Stores the decided tasks of one project, one after the other, in the background.

    Args:
        catalogue: Of the project.
        connect: Returns the project as it is connected now.
        choose_version: Returns the version that is shown now.

    Attributes:
        problems: (task, why) of tasks that could not be stored; the newest last.
        away: Why Label Studio could not be asked; "" where it could.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        connect: Callable[[], Project],
        choose_version: Callable[[Project], str],
    ) -> None:
        self.problems: list[tuple[int, str]] = []
        self.away = ""
        self._catalogue = catalogue
        self._connect = connect
        self._choose_version = choose_version
        self._lock = threading.Lock()

    def start(self) -> None:
        """Store what is whole, without waiting for it."""
        threading.Thread(target=self.store_whole_tasks, daemon=True).start()

    def store_whole_tasks(self) -> list[int]:
        """Store every task of which all cells are decided; return their ids."""
        stored = []
        with self._lock:
            for task in list_whole_tasks(self._catalogue):
                try:
                    self._store(task)
                    stored.append(task)
                    self.away = ""
                except TaskChanged as changed:
                    self.problems = [*self.problems[-9:], (task, str(changed))]
                    self._read_again(task)
                except STUDIO_ERRORS as error:
                    self.away = str(error)
                    break  # it stays decided, and is stored the next time
        return stored

    def undo(self, person: int) -> tuple[int, ...]:
        """Undo what a person decided last; an annotation that it completed is deleted.

        Args:
            person: By the number in Label Studio.

        Returns:
            The cells that are as before; () where there is nothing to undo.

        Raises:
            StudioUnreachable: See `Studio`; nothing is undone then.
        """
        with self._lock:
            found = find_undoable(self._catalogue, person)
            if found is None:
                return ()
            batch, stored = found
            studio = self._open_studio()
            for annotation, _ in stored:
                studio.delete_annotation(annotation)
            for _, task in stored:
                self._read_again(task)
            return tuple(undo(self._catalogue, batch))

    def _open_studio(self) -> Studio:
        project = self._connect()
        return Studio(project.url, project.token)

    def _store(self, number: int) -> None:
        project = self._connect()
        studio = Studio(project.url, project.token)
        task = _read_task(studio, project.id, number)
        decisions = list_task_decisions(self._catalogue, number)
        person = next(iter(decisions.values())).person
        made = [held for held in task["annotations"] if _is_by(held, person)]
        if made and not task.get("drafts"):
            # This very annotation, whose answer was lost.
            note_stored(self._catalogue, number, made[-1]["id"])
            self._read_again(number)
            return
        if task["annotations"]:
            raise TaskChanged("somebody annotated it in Label Studio meanwhile; that counts")
        if task.get("drafts"):
            raise TaskChanged("somebody has begun it in Label Studio; finish it there")
        version = self._choose_version(project)
        prediction = next(
            (held for held in reversed(task["predictions"]) if held["model_version"] == version),
            None,
        )
        by_region = self._match_regions(number, decisions)
        if prediction is None or by_region.keys() != {
            str(item.get("id")) for item in prediction["result"]
        }:
            raise TaskChanged("another version draws it now; decide about its boxes anew")
        annotation = studio.submit_annotation(
            number,
            write_annotation(prediction["result"], by_region, parse_labels(project.label_config)),
            parent_prediction=prediction["id"],
            seconds=round(sum(decision.seconds for decision in decisions.values()), 3),
            completed_by=person,
        )
        note_stored(self._catalogue, number, annotation)
        self._read_again(number)

    def _match_regions(self, task: int, decisions: dict[int, Decision]) -> dict[str, Decision]:
        cells = self._catalogue.find_cells(CellFilter(task=task), limit=100_000)
        return {cell.region: decisions[cell.number] for cell in cells if cell.number in decisions}

    def _read_again(self, number: int) -> None:
        project = self._connect()
        version = self._choose_version(project)
        try:
            task = _read_task(Studio(project.url, project.token), project.id, number)
        except TaskChanged:
            self._catalogue.remove([number])
            return
        labels = parse_labels(project.label_config)
        row = read_task_cells(task, find_shown_regions(task), labels, version)
        self._catalogue.put([row], version)
        with self._catalogue.write() as database:
            # Decided about what is not there any more.
            database.execute(
                "delete from decision where task = ? and number not in"
                " (select number from cell where task = ?)",
                (number, number),
            )


def _read_task(studio: Studio, project: int, number: int) -> dict[str, Any]:
    task = next(studio.list_tasks(project, ids=[number]), None)
    if task is None:
        raise TaskChanged("it was deleted in Label Studio")
    return task


def _is_by(annotation: dict[str, Any], person: int) -> bool:
    who = annotation.get("completed_by")
    return (who.get("id") if isinstance(who, dict) else who) == person
