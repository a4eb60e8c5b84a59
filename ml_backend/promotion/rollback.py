"""After a promotion: the edits of annotators are recorded, and may cause a rollback."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

from ml_backend.dataset.corrections import measure_usefulness, read_all_corrections
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.promotion import rollback_test
from ml_backend.promotion.rollback_test import Verdict
from ml_backend.registry.versions import Registry, UnknownVersion
from ml_backend.state.projects import Project, Projects

log = logging.getLogger(__name__)


class RollbackWatch:
    """Watches the champions of one data folder's projects."""

    def __init__(self, projects: Projects, registry: Registry) -> None:
        self._projects = projects
        self._registry = registry

    def watch(self, project: Project, tasks: Iterable[dict[str, Any]]) -> Verdict | None:
        """Roll the champion back where annotators have to edit more than under the one before.

        Args:
            project: The project.
            tasks: Its annotated tasks.

        Returns:
            The verdict, which is kept with the version; None while there is none, or when it
            was given before.
        """
        number = str(project.id)
        change = rollback_test.find_promotion_on_trial(self._registry.list_changes(number))
        if change is None or not self._registry.has(change.version):
            return None
        noted = self._registry.get(change.version).figures.get("watch", {})
        if noted.get("at") == change.at:
            return None
        labels = parse_labels(project.label_config)
        tasks = list(tasks)
        shown = self._projects.get_shown_regions(project.id, (change.version, change.previous))
        verdict = rollback_test.judge_promotion(
            change, read_all_corrections(tasks, shown, labels)[0]
        )
        if verdict is None:
            return None
        done = f"{change.version} stays"
        if verdict.worse:
            reason = f"rolled back: {verdict.reason}"
            try:
                self._registry.roll_back(
                    number, by=rollback_test.ROLLED_BACK_BY, reason=reason, of=change.version
                )
                self._projects.add_note(project.id, "publish")
                done = f"back to {change.previous}"
            except UnknownVersion as error:
                done = f"not rolled back, because {error}"
        figure = {"at": change.at, "worse": verdict.worse, "said": verdict.reason}
        self._record(change.version, "watch", figure)
        self.record_usefulness(project.id, tasks, labels)
        log.log(
            logging.WARNING if verdict.worse else logging.INFO,
            "project %s: %s: %s",
            number,
            done,
            verdict.reason,
        )
        return verdict

    def record_usefulness(
        self, project_id: int, tasks: Iterable[dict[str, Any]], labels: LabelingConfig
    ) -> None:
        """Record with each version how useful it was, project by project.

        Args:
            project_id: The project.
            tasks: Its annotated tasks.
            labels: Those of the project.
        """
        corrections, _ = read_all_corrections(
            tasks, self._projects.get_shown_regions(project_id), labels
        )
        for usefulness in measure_usefulness(corrections):
            version = usefulness.version
            if self._registry.has(version):
                known = self._registry.get(version).figures.get("usefulness", {})
                figure = {**known, str(project_id): asdict(usefulness)}
                self._record(version, "usefulness", figure)

    def _record(self, name: str, key: str, figure: Any) -> None:
        version = self._registry.get(name)
        if version.figures.get(key) != figure:
            self._registry.record(replace(version, figures={**version.figures, key: figure}))
