"""What was asked about a project's labels, a file each: where, and which labels are right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ml_backend.system.atomic_files import read_json, write_json


@dataclass(frozen=True)
class Questions:
    """The questions about the labels of one project.

    Attributes:
        project: The id of the project in Label Studio that asks them; None before there is one.
        confirmed: The keys of findings of which a person said that the label is right.
    """

    project: int | None = None
    confirmed: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def read(cls, folder: Path, about: int) -> Questions:
        """Read those about a project; none were asked where there is no file."""
        kept = read_json(folder / f"{about}.json")
        return cls(kept["project"], frozenset(kept["confirmed"])) if kept else cls()

    def write(self, folder: Path, about: int) -> None:
        """Keep them in the folder, under the id of the project that they are about."""
        folder.mkdir(parents=True, exist_ok=True)
        kept = {"project": self.project, "confirmed": sorted(self.confirmed)}
        write_json(folder / f"{about}.json", kept)

    def confirm(self, findings: Iterable[str]) -> Questions:
        """Add findings of which a person said that the label is right."""
        return Questions(self.project, self.confirmed | set(findings))
