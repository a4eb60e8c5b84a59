"""The models that are loaded: which one pre-annotates a project, and what orders its queue.

Both are decided anew at every request, which is cheap.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache

from ml_backend.active_learning.queue import Queue, ReviewQueue
from ml_backend.active_learning.strategies.base import Strategy
from ml_backend.active_learning.strategies.table import find_strategy
from ml_backend.counting.drawn_queue import DrawnQueue, QueueDrawer
from ml_backend.counting.sample import SampleStore
from ml_backend.label_studio.client import Studio
from ml_backend.label_studio.labeling_config import parse_labels
from ml_backend.learners.kinds import load_model, match_labels
from ml_backend.learners.model_file import ModelCard
from ml_backend.registry.versions import Registry
from ml_backend.serving.answer_cache import AnswerCache
from ml_backend.serving.preannotation import PreAnnotator
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects

# What has given the scores of a queue that was drawn by lot, in place of a strategy's name.
COUNT = "count"


def name_untrained(project: int) -> str:
    """Name the version of a project that no model matches."""
    return f"{project}-untrained"


class ModelCache:
    """The models that are loaded, shared by all threads of a process.

    Args:
        settings: Of the data folder.
        registry: Of the same data folder.

    Raises:
        UnknownStrategy: The settings name a strategy that does not exist.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        find_strategy(settings.strategy)
        self._settings = settings
        self._registry = registry
        # Replaced as a whole and never changed, so reading needs no lock: /health must not
        # wait for a model that loads.
        self._preannotators: dict[tuple[str, int, str], PreAnnotator] = {}
        self._loading = threading.Lock()
        self._answers = AnswerCache()

    def choose_version(self, project: Project) -> str:
        """Choose the version string of a project, the same in every answer."""
        champion = self._registry.get_champion(str(project.id))
        if champion is None:
            return name_untrained(project.id)
        matching = match_labels(_card(self._registry, champion), parse_labels(project.label_config))
        return champion if matching else name_untrained(project.id)

    def get_preannotator(self, project: Project) -> PreAnnotator | None:
        """Return what pre-annotates the project's tasks now, loaded; None while it is untrained."""
        key = self._key(project)
        if key is None:
            return None
        found = self._preannotators.get(key)
        if found is None:
            with self._loading:
                found = self._preannotators.get(key)
                if found is None:
                    found = self._build(key[0], project)
                    # Only what a champion still needs stays in memory.
                    others = {
                        k: kept for k, kept in self._preannotators.items() if k[1] != project.id
                    }
                    self._preannotators = {**others, key: found}
        return found

    def choose_strategy(self, projects: Projects, project: int) -> Strategy:
        """Choose the strategy of a project.

        Raises:
            UnknownStrategy: The project has a strategy that does not exist any more.
        """
        return find_strategy(projects.get_strategy(project) or self._settings.strategy)

    def open_queue(self, projects: Projects, project: int, version: str) -> Queue:
        """Open the queue that orders a project's tasks, as a version sees them.

        Args:
            projects: Keeps the scores.
            project: The project's id.
            version: The version that scores.

        Raises:
            UnknownStrategy: The project has a strategy that does not exist any more.
        """
        if projects.get_goal(project) == "count":
            store = SampleStore(self._settings.samples_database)
            return DrawnQueue(
                project, store, lambda: projects.note_rescored(project, version, COUNT, until=0)
            )
        strategy = self.choose_strategy(projects, project)

        def remember(scores: Sequence[float]) -> Sequence[float]:
            if strategy.whole:  # they are provisional until the whole queue is scored
                projects.note_rescored(project, version, strategy.name, until=0)
            return projects.keep_queue_scores(project, version, strategy.name, scores)

        def count_foreground(shown: int, seen: int) -> float:
            return projects.count_foreground(project, version, shown, seen)

        return ReviewQueue(strategy, remember, count_foreground)

    def open_drawer(
        self, projects: Projects, project: Project, studio: Studio
    ) -> QueueDrawer | None:
        """Open what draws the tiles of a project with the goal `count`; None for the others."""
        if projects.get_goal(project.id) != "count":
            return None
        return QueueDrawer(
            project.id,
            SampleStore(self._settings.samples_database),
            studio,
            parse_labels(project.label_config),
            self._settings.annotators,
        )

    def prepare(self, project: Project) -> None:
        """Load what pre-annotates the project, without waiting for it."""
        key = self._key(project)
        if key is not None and key not in self._preannotators:
            threading.Thread(target=self.get_preannotator, args=(project,), daemon=True).start()

    def list_loaded(self) -> list[PreAnnotator]:
        """List what is loaded, for the counts that /health shows."""
        return list(self._preannotators.values())

    def _key(self, project: Project) -> tuple[str, int, str] | None:
        version = self.choose_version(project)
        if version == name_untrained(project.id):
            return None
        return version, project.id, project.label_config

    def _build(self, version: str, project: Project) -> PreAnnotator:
        loaded = {other.version: other.model for other in self._preannotators.values()}
        model = loaded.get(version) or load_model(self._registry.get_folder(version))
        labels = parse_labels(project.label_config)
        matching = match_labels(model.card, labels)
        assert matching is not None  # else the project would be called untrained
        everything = self._settings.preannotate == "all"
        classes = model.card.classes if everything else model.card.headline
        shown = frozenset(classes) & frozenset(matching.mapping)
        before = {change.version for change in self._registry.list_changes(str(project.id))}
        return PreAnnotator(
            version,
            model,
            labels,
            matching,
            shown,
            answers=self._answers,
            round=len(before - {version}),
        )


@lru_cache(maxsize=256)
def _card(registry: Registry, version: str) -> ModelCard:
    """Read a card once: a version never changes."""
    return registry.read_card(version)
