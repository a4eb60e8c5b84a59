"""What every route and page of one server works on: opened once, found through the Flask app."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from flask import current_app

from ml_backend.imaging.decode import UnreadableImage, decode, measure_decoded
from ml_backend.imaging.decode_budget import BUDGET
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.learners.kinds import load_model
from ml_backend.registry.versions import Registry
from ml_backend.serving.catalogue.refresh import Catalogues
from ml_backend.serving.decoded_images import DecodedImages
from ml_backend.serving.gallery.galleries import Galleries
from ml_backend.serving.metrics import ServerMetrics
from ml_backend.serving.model_cache import ModelCache
from ml_backend.settings import Settings
from ml_backend.state.projects import Project, Projects
from ml_backend.system.attempt_limit import AttemptLimit
from ml_backend.system.credentials import (
    read_backend_password,
    read_event_password,
    read_session_key,
)

# Where the Flask app keeps its state, in `app.extensions`.
EXTENSION = "cytoloop"
# Label Studio asks for several projects at a time.
MOST_PREDICTING = 16


class ImageSources:
    """One image source for each project, made when first asked for; safe among threads.

    Args:
        media: The folder whose files our own Label Studio serves as local files.
    """

    def __init__(self, media: Path) -> None:
        self._media = media
        self._sources: dict[Project, ImageSource] = {}
        self._decoded = DecodedImages()
        self._lock = threading.Lock()

    def get(self, project: Project) -> ImageSource:
        """Return the source of a project's images."""
        with self._lock:
            if project not in self._sources:
                self._sources[project] = ImageSource(
                    project.url, project.token, media=self._media, project=project.id
                )
            return self._sources[project]

    def get_pixels(
        self, project: Project, address: str, deadline: float | None = None
    ) -> np.ndarray | None:
        """Return an image, (H, W, 3) uint8 RGB, that somebody looks at and will ask for again.

        Args:
            project: Whose task it is of.
            address: Of the image, as the task has it.
            deadline: On `time.monotonic()`.

        Returns:
            None where it cannot be had, or not in time.
        """
        key = project.id, address
        pixels = self._decoded.find(key)
        if pixels is None:
            for _, content in self.get(project).fetch([address], deadline):
                if isinstance(content, Exception):
                    return None
                try:
                    taken = measure_decoded(content)
                    seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
                    if not BUDGET.take(taken, seconds):
                        return None
                    try:
                        pixels = decode(content)
                    finally:
                        BUDGET.give_back(taken)
                except UnreadableImage:
                    return None
                self._decoded.keep(key, pixels)
        return pixels


@dataclass(frozen=True)
class AppState:
    """One data folder, opened for a server.

    Attributes:
        settings: Every setting, and the layout of the data folder.
        projects: The connected projects, and the notes left for the worker.
        registry: The versions, and which one is the champion of a project.
        models: What is loaded and pre-annotates.
        metrics: The counts of this process.
        images: Where the images of a project's tasks come from.
        session_key: Signs the cookies of browsers.
        attempts: The failed logins.
        turns: Held while a request predicts: more than these would only slow each other down.
        catalogues: What the tasks of the projects show.
        galleries: Their cells as pictures, and what is decided about them.
        password: What each request must carry, with `settings.backend_user`.
        event_password: What a webhook may carry instead, for events alone.
    """

    settings: Settings
    projects: Projects
    registry: Registry
    models: ModelCache
    metrics: ServerMetrics
    images: ImageSources
    catalogues: Catalogues
    galleries: Galleries
    password: str = field(repr=False)
    event_password: str = field(repr=False)
    session_key: bytes = field(repr=False)
    attempts: AttemptLimit = field(default_factory=AttemptLimit, repr=False)
    turns: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(MOST_PREDICTING), repr=False
    )

    @classmethod
    def open(cls, settings: Settings) -> AppState:
        """Open the data folder that the settings name; a new one is made."""
        registry = Registry.open(settings)
        projects, models = Projects(settings.projects_database), ModelCache(settings, registry)
        images, catalogues = ImageSources(settings.media), Catalogues(settings.catalogue)
        return cls(
            settings=settings,
            projects=projects,
            registry=registry,
            models=models,
            metrics=ServerMetrics(settings.progress),
            images=images,
            catalogues=catalogues,
            galleries=Galleries(
                settings.crops,
                catalogues,
                projects,
                images.get,
                models.choose_version,
                lambda version: load_model(registry.get_folder(version)),
            ),
            password=read_backend_password(settings),
            event_password=read_event_password(settings),
            session_key=read_session_key(settings),
        )


def get_app_state() -> AppState:
    """Return the state of the app that answers the present request."""
    return current_app.extensions[EXTENSION]
