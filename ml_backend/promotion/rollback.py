"""What a version was good for, once annotators work with it: their edits, and a rollback."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from ml_backend.dataset.corrections import correct_all, usefulness
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.promotion import rollback_test
from ml_backend.promotion.rollback_test import Verdict
from ml_backend.registry.versions import Registry, UnknownVersion
from ml_backend.state.projects import Project, Projects

log = logging.getLogger(__name__)


class Aftermath:
    """Over one data folder's projects and versions."""

    def __init__(self, projects: Projects, registry: Registry) -> None:
        self._projects = projects
        self._registry = registry

    def watch(self, project: Project, tasks: Iterable[dict[str, Any]]) -> Verdict | None:
        """Roll the champion back where annotators have to edit more than before it.

        tasks: the annotated ones. The verdict is kept with the version; None while there is
        none, or when it was given before.
        """
        number = str(project.id)
        change = rollback_test.watched(self._registry.list_changes(number))
        if change is None or not self._registry.has(change.version):
            return None
        noted = self._registry.get(change.version).figures.get("watch", {})
        if noted.get("at") == change.at:
            return None
        labels = parse_labels(project.label_config)
        tasks = list(tasks)
        shown = self._projects.shown(project.id, (change.version, change.previous))
        verdict = rollback_test.judge(change, correct_all(tasks, shown, labels)[0])
        if verdict is None:
            return None
        done = f"{change.version} stays"
        if verdict.worse:
            reason = f"rolled back: {verdict.said}"
            try:
                self._registry.roll_back(
                    number, by=rollback_test.BY, reason=reason, of=change.version
                )
                self._projects.leave(project.id, "publish")
                done = f"back to {change.previous}"
            except UnknownVersion as error:
                done = f"not rolled back, because {error}"
        self._note(change.version, "watch", {"at": change.at, **asdict(verdict)})
        self.note_usefulness(project.id, tasks, labels)
        log.log(
            logging.WARNING if verdict.worse else logging.INFO,
            "project %s: %s: %s",
            number,
            done,
            verdict.said,
        )
        return verdict

    def note_usefulness(
        self, project_id: int, tasks: Iterable[dict[str, Any]], labels: LabelingConfig
    ) -> None:
        """Keep with each version what its corrections say, project by project."""
        corrections, _ = correct_all(tasks, self._projects.shown(project_id), labels)
        for one in usefulness(corrections):
            if self._registry.has(one.version):
                known = self._registry.get(one.version).figures.get("usefulness", {})
                self._note(one.version, "usefulness", {**known, str(project_id): asdict(one)})

    def _note(self, version: str, name: str, figure: Any) -> None:
        found = self._registry.get(version)
        if found.figures.get(name) != figure:
            self._registry.record(replace(found, figures={**found.figures, name: figure}))
