"""Connecting a project: its labels are checked; backend, webhook, version and view are set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ml_backend.active_learning.strategies.table import find_strategy
from ml_backend.label_studio.client import Studio, StudioProject
from ml_backend.label_studio.labeling_config import LabelingConfig, parse_labels
from ml_backend.label_studio.webhooks import connect_backend, disconnect_backend
from ml_backend.learners.kinds import choose_learner, match_labels
from ml_backend.registry.resolve import resolve_model
from ml_backend.registry.starters import choose_starter
from ml_backend.registry.versions import Registry
from ml_backend.serving.model_cache import name_untrained
from ml_backend.settings import Settings
from ml_backend.state.projects import Goal, Project, Projects
from ml_backend.system.credentials import read_backend_password, read_event_password


@dataclass(frozen=True)
class ConnectedProject:
    """A project that is connected.

    Attributes:
        project: As Label Studio has it.
        backend_url: Where Label Studio reaches the backend; None where it need not.
        version: What pre-annotates it, or '<id>-untrained'.
        trained: Whether a version pre-annotates it.
        drawn: The classes of that version that are shown.
        not_asked: Classes that would be shown too if CYTOLOOP_PREANNOTATE were 'all'.
        without_label: Classes that have no label here and are dropped.
        chosen: What that version can choose of each box.
    """

    project: StudioProject
    backend_url: str | None
    version: str
    trained: bool
    drawn: tuple[str, ...]
    not_asked: tuple[str, ...]
    without_label: tuple[str, ...]
    chosen: tuple[str, ...] = ()

    @property
    def is_boxed(self) -> bool:
        """Whether its labels are boxes; else they are choices for whole images."""
        return bool(parse_labels(self.project.label_config).controls)

    @property
    def has_region_choices(self) -> bool:
        """Whether something is chosen of each box."""
        return bool(parse_labels(self.project.label_config).region_choices)

    def to_json(self) -> dict[str, Any]:
        """Give the values of `cytoloop connect --json`."""
        return {
            "project": self.project.id,
            "title": self.project.title,
            "tasks": self.project.tasks,
            "backend": self.backend_url,
            "version": self.version,
            "drawn": list(self.drawn),
            "not_asked": list(self.not_asked),
            "without_label": list(self.without_label),
        }

    def describe(self) -> str:
        """Describe the connection, in a few lines for the user."""
        project = self.project
        lines = [
            f"Connected project {project.id}, {project.title!r} ({project.tasks} tasks)"
            + (f", to {self.backend_url}." if self.backend_url else "."),
            self.describe_labels(),
        ]
        if self.backend_url is None:
            lines.append(
                "Keep `cytoloop worker` running: it asks Label Studio for corrections, trains, and "
                "stores pre-annotations there; Label Studio need not reach this machine. To train "
                f"at once: cytoloop train --project {project.id}"
            )
        elif self.trained:
            lines.append("Keep `cytoloop worker` running: it pre-annotates the tasks.")
        return "\n".join(lines)

    def describe_labels(self) -> str:
        """Describe what is shown with this project's labels and what is not."""
        if not self.trained:
            return (
                "No model knows these labels yet, so nothing is pre-annotated; mark some images "
                "and the worker trains one."
            )
        verb = "boxes" if self.is_boxed else "chooses"
        text = f"{self.version} {verb}: {', '.join(self.drawn)}"
        text += f", and chooses for each: {', '.join(self.chosen)}." if self.chosen else "."
        if self.not_asked:
            names = ", ".join(self.not_asked)
            text += f" To have {names} boxed too, set CYTOLOOP_PREANNOTATE=all before the start."
        if self.without_label:
            text += f" It also knows {', '.join(self.without_label)}: no label for it, so left out."
        return text


def parse_learnable_labels(label_config: str) -> LabelingConfig:
    """Read a labeling config that a learner can work with.

    Raises:
        ValueError: There is nothing to draw or to choose.
    """
    labels = LabelingConfig.parse(label_config)
    if choose_learner(labels) is None:
        raise ValueError(
            "the labeling config has neither RectangleLabels nor Choices on an Image; add them, or "
            "start from --labels mitosis, phases, mitosis-stages, tetrads, spreads, images, "
            "stages, shapes or adviser"
        )
    return labels


def connect(
    settings: Settings,
    url: str,
    token: str,
    project_id: int,
    backend_url: str | None,
    strategy: str | None = None,
    goal: Goal | None = None,
    annotations: int | None = None,
) -> ConnectedProject:
    """Connect a project of the Label Studio at `url`; doing it again changes nothing.

    The backend must be running: Label Studio asks for its health meanwhile. Without a backend the
    worker asks Label Studio for everything, which may then be where it reaches no address of ours.

    Args:
        settings: Of the data folder.
        url: Where Label Studio answers.
        token: A personal access token of it.
        project_id: The project there.
        backend_url: Where Label Studio reaches the backend; None where it is not to call us.
        strategy: What orders the project's queue from now on; None leaves it as it is.
        goal: What the queue serves from now on; None leaves it as it is.
        annotations: How many people are to annotate each task; None leaves it as it is.

    Raises:
        UnknownStrategy: No strategy has that name, or the one in the settings.
        ValueError: The labels have no rectangles.
        OtherStudio: The data folder serves another Label Studio.
        AddressBlocked: Label Studio's protection forbids the backend's address.
        StudioFault: See `Studio`, also for the other errors of its requests.
    """
    find_strategy(strategy or settings.strategy)
    studio = Studio(url, token)
    found = studio.get_project(project_id)
    labels = parse_learnable_labels(found.label_config)
    project = Project(found.id, studio.url, token, found.title, found.label_config)
    projects = Projects(settings.projects_database)
    projects.connect(project)
    if strategy is not None:
        projects.choose_strategy(project.id, strategy)
    if goal is not None:
        projects.choose_goal(project.id, goal)
    version = choose_first_version(settings, project, labels)
    studio.show_predictions(found.id)
    if annotations is not None:
        studio.set_annotations(found.id, annotations)
    studio.ensure_view(found.id)
    if backend_url is None:
        disconnect_backend(studio.session, found.id)
    else:
        connect_backend(
            studio.session,
            found.id,
            backend_url,
            settings.backend_user,
            read_backend_password(settings),
            read_event_password(settings),
            interactive=labels.smart,
        )
    projects.choose_polling(found.id, polled=backend_url is None)
    if version:
        studio.set_model_version(found.id, version)
    if backend_url is None:
        studio.link_page(found.id, None)
    elif is_seen_by_browsers(backend_url):
        studio.link_page(found.id, f"{backend_url.rstrip('/')}/projects/{found.id}/")
    projects.add_note(found.id, "publish")
    return _describe_connection(settings, found, labels, version, backend_url)


def is_seen_by_browsers(backend_url: str) -> bool:
    """Tell whether a browser may reach this address: a bare name is one of a container network."""
    host = urlsplit(backend_url).hostname or ""
    return host == "localhost" or "." in host or ":" in host


def _describe_connection(
    settings: Settings,
    found: StudioProject,
    labels: LabelingConfig,
    version: str | None,
    backend_url: str | None,
) -> ConnectedProject:
    if version is None:
        return ConnectedProject(found, backend_url, name_untrained(found.id), False, (), (), ())
    card = Registry.open(settings).read_card(version)
    matching = match_labels(card, labels)
    assert matching is not None  # it was chosen because it matches
    asked = card.classes if settings.preannotate == "all" else card.headline
    return ConnectedProject(
        found,
        backend_url,
        version,
        True,
        tuple(name for name in matching.mapping if name in asked),
        tuple(name for name in matching.mapping if name not in asked),
        matching.unmatched,
        tuple(labels.match_region_choices(card.options.get("choices", ())).mapping),
    )


def choose_first_version(
    settings: Settings, project: Project, labels: LabelingConfig
) -> str | None:
    """Choose the champion if it matches the labels; where there is none, promote a starter.

    Returns:
        The version string; None when nothing matches.

    Raises:
        ExportFailed: The starter cannot be made ready to serve.
    """
    registry = Registry.open(settings)
    champion = registry.get_champion(str(project.id))
    if champion is not None:
        return champion if match_labels(registry.read_card(champion), labels) else None
    starter = choose_starter(labels)
    if starter is None:
        return None
    version = resolve_model(starter, registry)
    reason = "the project's labels match this starter's classes"
    registry.promote(str(project.id), version.name, by="cytoloop", reason=reason)
    return version.name
