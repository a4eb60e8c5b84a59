"""The backend as a model of Label Studio's own framework, for those who serve all theirs with it.

    label-studio-ml start DIRECTORY

with `from ml_backend.official import CytoloopModel` in DIRECTORY/model.py. It answers what
`cytoloop serve` answers, from the same data folder, and leaves the same notes for
`cytoloop worker`, which must run beside it. It works with label-studio-ml 1.0.9, the last one in
the package index, and with 2.x. `cytoloop serve` is better where there is a choice: 1.0.9 answers
the version 'INITIAL' to /setup whatever its model says, so that Label Studio asks again for tasks
that have pre-annotations already; it keeps no password, and one model for all projects.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from label_studio_ml.model import LabelStudioMLBase

from ml_backend.serving.app_state import AppState
from ml_backend.serving.backend import NOTES, Backend
from ml_backend.settings import Settings


@cache
def open_state() -> AppState:
    """Open the data folder that the environment names, once in a process."""
    return AppState.open(Settings())


class CytoloopModel(LabelStudioMLBase):
    """Delegates to `serving.backend.Backend`."""

    TRAIN_EVENTS = tuple(NOTES)

    def setup(self) -> None:
        """Name the version that pre-annotates; 2.x calls this for every request of a project."""
        if self.project_id:
            self.set("model_version", self._open(self.project_id).model_version)

    def predict(self, tasks: list[dict[str, Any]], context: Any = None, **kwargs: Any) -> list[Any]:
        """Pre-annotate tasks of one project.

        Args:
            tasks: As Label Studio sends them, each with its project.
            context: What an annotator just drew; not used.
            **kwargs: What else Label Studio sends; not used.

        Returns:
            One entry a task, see `serving.backend.ModelResponse`.

        Raises:
            NotConnected: The project is not connected to the data folder.
        """
        if not tasks:
            return []
        # 1.0.9 tells its model no project.
        project = getattr(self, "project_id", "") or tasks[0].get("project")
        return self._open(project).predict(tasks, context).predictions

    def fit(self, *given: Any, event: str = "", data: Any = None, **kwargs: Any) -> dict[str, Any]:
        """Leave a note of an event for the worker, which trains.

        Args:
            *given: Of 2.x, the event and its data; of 1.0.9, no tasks.
            event: The event's name, where it is not given so.
            data: What Label Studio sent with it, where it is not given so.
            **kwargs: What else the framework passes; not used.

        Raises:
            NotConnected: The project is not connected to the data folder.
        """
        if len(given) == 2:
            event, data = given
        project = (data or {}).get("project") or {}
        number = project.get("id") if isinstance(project, dict) else project
        return {"noted": self._open(number).fit(event, data or {})}

    def _open(self, project: Any) -> Backend:
        # "12" of 2.x, 12 of a task.
        return Backend(open_state(), int(str(project).partition(".")[0]), self.label_config)
