"""The backend's status: its projects, their versions, and the tasks left out with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ml_backend import __version__
from ml_backend.serving.app_state import AppState
from ml_backend.serving.model_cache import ModelCache, name_untrained
from ml_backend.state.projects import Project


def read_status(state: AppState) -> dict[str, Any]:
    """Return what `/health` tells whoever names the password, ready to be JSON."""
    return {
        "status": "UP",
        "model_class": "cytoloop",
        "release": __version__,
        "projects": [
            describe_project(project, state.models)
            | {
                "annotators": state.projects.get_agreement(project.id),
                "estimate": state.projects.get_estimate(project.id),
            }
            for project in state.projects.list_projects()
        ],
        "left_out": state.projects.list_left_out(limit=100),
        "dropped": {
            f"{preannotator.version}": dict(preannotator.dropped)
            for preannotator in state.models.list_loaded()
            if preannotator.dropped
        },
    }


def describe_project(project: Project, models: ModelCache) -> dict[str, Any]:
    """Return a project's `id`, `title` and `version`, and a `note` where nothing is drawn."""
    version = models.choose_version(project)
    described: dict[str, Any] = {"id": project.id, "title": project.title, "version": version}
    if version == name_untrained(project.id):
        described["note"] = (
            "no detector matches this project's labels, so nothing is pre-annotated; "
            "label some tasks and press Start training"
        )
    return described


def group_by_reason(left_out: Iterable[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the ids of the tasks left out, in ascending order, under their reasons.

    Args:
        left_out: `task` and `reason` of each; the reasons keep their order.
    """
    tasks: dict[str, list[int]] = {}
    for row in left_out:
        tasks.setdefault(row["reason"], []).append(row["task"])
    return {reason: sorted(ids) for reason, ids in tasks.items()}
