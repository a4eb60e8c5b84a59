"""Which version is the champion of a project, and every change of it.

One small file a project that is replaced atomically, so a server may read it at every request and
all processes agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ml_backend.registry.mirror import Mirror
from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.locks import hold_lock


@dataclass(frozen=True)
class ChampionChange:
    """A change of a project's champion.

    Attributes:
        version: The new champion.
        previous: The one before; "" for the first.
        kind: How it changed.
        at: Seconds since 1970.
        by: Who changed it.
        reason: Why.
    """

    version: str
    previous: str
    kind: Literal["promotion", "rollback"]
    at: float
    by: str
    reason: str


class Champions:
    """The champions in a data folder, or in a bucket that it mirrors."""

    def __init__(self, folder: Path, mirror: Mirror | None, database: str | None) -> None:
        self._champions = folder
        self.mirror = mirror
        self._database = database

    def get_champion(self, project: str) -> str | None:
        """Return the champion's version string; None where the project has none. Fast."""
        self._refresh()
        pointer = read_json(self._champions / f"{project}.json")
        return None if pointer is None else pointer["version"]

    def list_projects_led_by(self, name: str) -> list[str]:
        """List the projects whose champion is the version."""
        return [project for project in self._list_led() if self.get_champion(project) == name]

    def list_ever_champions(self) -> set[str]:
        """List the versions that are or were the champion of any project."""
        return {
            change.version for project in self._list_led() for change in self.list_changes(project)
        }

    def _list_led(self) -> list[str]:
        """List the projects that have a champion."""
        self._refresh()
        found = (path for path in self._champions.glob("*.json") if path.name[0] != ".")
        return sorted(path.stem for path in found)

    def list_changes(self, project: str) -> list[ChampionChange]:
        """List every change of the project's champion, oldest first."""
        self._refresh()
        pointer = read_json(self._champions / f"{project}.json", {"history": []})
        return [ChampionChange(**change) for change in pointer["history"]]

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep two writers from losing each other's change; readers need no lock."""
        with hold_lock(self._champions / ".lock", self._database, 10):
            if self.mirror:
                self.mirror.refresh(0)
            yield

    def _refresh(self) -> None:
        if self.mirror:
            self.mirror.refresh()

    def _point(
        self, project: str, name: str, kind: Literal["promotion", "rollback"], by: str, reason: str
    ) -> ChampionChange:
        history = self.list_changes(project)
        previous = history[-1].version if history else ""
        change = ChampionChange(name, previous, kind, time.time(), by, reason)
        if name != previous:
            pointer = {"version": name, "history": [asdict(past) for past in [*history, change]]}
            if self.mirror:
                self.mirror.put("champions", project, pointer)
            write_json(self._champions / f"{project}.json", pointer)
        return change


def list_champions(history: list[ChampionChange]) -> list[str]:
    """List the champions up to the present one, without those that were rolled back."""
    champions: list[str] = []
    for change in history:
        if change.kind == "rollback":
            champions.pop()
        else:
            champions.append(change.version)
    return champions
