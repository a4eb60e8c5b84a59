"""Asking Label Studio what changed, for projects of which it tells us nothing."""

from __future__ import annotations

import time

from ml_backend.label_studio.client import Studio, StudioProject
from ml_backend.state.projects import Note, Project, Projects

# Between two questions about a project, s. One is a single request of some 20 ms.
POLL_SECONDS = 10.0


class Poller:
    """Leaves the notes that Label Studio's events would leave.

    What no count shows, such as an annotation that was changed, is found when the worker looks at
    every project.

    Args:
        projects: Of the data folder; it gets the notes.
    """

    def __init__(self, projects: Projects) -> None:
        self._projects = projects
        self._known: dict[int, StudioProject] = {}
        self._asked: dict[int, float] = {}

    def is_due(self, project: Project) -> bool:
        """Tell whether it is time to ask about a project."""
        asked = self._asked.get(project.id, float("-inf"))
        return time.monotonic() - asked >= POLL_SECONDS and self._projects.is_polled(project.id)

    def ask(self, project: Project) -> None:
        """Ask about a project, and leave notes of what changed since the last time.

        Raises:
            StudioUnreachable, StudioRefused, ProjectGone, StudioFault: As Label Studio answers.
        """
        self._asked[project.id] = time.monotonic()
        found = Studio(project.url, project.token).get_project(project.id)
        known = self._known.get(project.id)
        self._known[project.id] = found
        if known is not None:
            for note in find_changes(known, found):
                self._projects.add_note(project.id, note)


def find_changes(before: StudioProject, now: StudioProject) -> tuple[Note, ...]:
    """Find the notes that two looks at a project ask for.

    The first look needs none: the worker looks at every project when it starts.
    """
    labels = before.label_config != now.label_config
    notes: list[Note] = []
    if labels or before.tasks != now.tasks:
        notes.append("publish")
    if labels or before.annotations != now.annotations or now.tasks < before.tasks:
        notes.append("changed")
    return tuple(notes)
