"""Which model answers for a project, and what orders its queue.

Both are decided anew at every request, and cheap to decide.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ml_backend.active_learning.queue import ReviewQueue
from ml_backend.active_learning.strategies.table import find_strategy
from ml_backend.label_studio.labeling_config import ClassMatching, LabelingConfig
from ml_backend.learners.kinds import find_learner, load_model
from ml_backend.learners.model_file import ModelCard
from ml_backend.registry.versions import Registry
from ml_backend.serving.preannotation import Annotator
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects


def untrained(project: int) -> str:
    """The version string of a project for which no model can draw anything."""
    return f"{project}-untrained"


@lru_cache(maxsize=64)
def parse_labels(label_config: str) -> LabelingConfig:
    return LabelingConfig.parse(label_config)


def match_labels(card: ModelCard, labels: LabelingConfig) -> ClassMatching[Any] | None:
    """Find where the labels take a model's classes; None where they take no headline one."""
    return find_learner(card.kind).match_labels(card, labels)


class Serving:
    """The models that are loaded, shared by all threads of a process.

    Raises UnknownStrategy where the settings name a strategy that there is not.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        find_strategy(settings.strategy)
        self._settings = settings
        self._registry = registry
        # Replaced as a whole and never changed, so reading needs no lock: /health must not
        # wait for a model that loads.
        self._annotators: dict[tuple[str, int, str], Annotator] = {}
        self._loading = threading.Lock()

    def version(self, project: Project) -> str:
        """The one version string of a project: in /setup, in every prediction, in the project."""
        champion = self._registry.get_champion(str(project.id))
        if champion is None:
            return untrained(project.id)
        matching = match_labels(_card(self._registry, champion), parse_labels(project.label_config))
        return champion if matching else untrained(project.id)

    def annotator(self, project: Project) -> Annotator | None:
        """What pre-annotates the project's tasks now; None while it is untrained."""
        key = self._key(project)
        if key is None:
            return None
        found = self._annotators.get(key)
        if found is None:
            with self._loading:
                found = self._annotators.get(key)
                if found is None:
                    found = self._build(key[0], project)
                    # Only what a champion still needs stays in memory.
                    others = {k: kept for k, kept in self._annotators.items() if k[1] != project.id}
                    self._annotators = {**others, key: found}
        return found

    def queue(self, projects: Projects, project: int, version: str) -> ReviewQueue:
        """The order of a project's tasks as a version sees them.

        Raises UnknownStrategy where the project has a strategy that there is not any more.
        """
        strategy = find_strategy(projects.strategy(project) or self._settings.strategy)

        def remember(scores: Sequence[float]) -> Sequence[float]:
            if strategy.whole:  # they are provisional until the whole queue is scored
                projects.note_rescored(project, version, strategy.name, until=0)
            return projects.scores_among(project, version, strategy.name, scores)

        return ReviewQueue(strategy, remember)

    def prepare(self, project: Project) -> None:
        """Load what pre-annotates the project, without waiting for it."""
        key = self._key(project)
        if key is not None and key not in self._annotators:
            threading.Thread(target=self.annotator, args=(project,), daemon=True).start()

    def loaded(self) -> list[Annotator]:
        """Every annotator in use, for the counts that /health shows."""
        return list(self._annotators.values())

    def _key(self, project: Project) -> tuple[str, int, str] | None:
        version = self.version(project)
        known = version != untrained(project.id)
        return (version, project.id, project.label_config) if known else None

    def _build(self, version: str, project: Project) -> Annotator:
        known = {one.version: one.model for one in self._annotators.values()}
        model = known.get(version) or load_model(self._registry.get_folder(version))
        labels = parse_labels(project.label_config)
        matching = match_labels(model.card, labels)
        assert matching is not None  # else the project would be called untrained
        everything = self._settings.preannotate == "all"
        classes = model.card.classes if everything else model.card.headline
        shown = frozenset(classes) & frozenset(matching.mapping)
        return Annotator(version, model, labels, matching, shown)


@lru_cache(maxsize=256)
def _card(registry: Registry, version: str) -> ModelCard:
    """A version never changes, so its card is read once."""
    return registry.read_card(version)
