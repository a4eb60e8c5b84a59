"""What a gallery works with, opened once for each project."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ml_backend.imaging.decode import UnreadableImage
from ml_backend.label_studio.image_source import ImageSource
from ml_backend.learners.base import Model
from ml_backend.serving.catalogue.cells import Cell
from ml_backend.serving.catalogue.crops import Crops
from ml_backend.serving.catalogue.refresh import Catalogues
from ml_backend.serving.catalogue.store import Catalogue, CellFilter
from ml_backend.serving.gallery.storing import Storer
from ml_backend.serving.side_by_side.comparer import Comparer
from ml_backend.state.projects import Project, Projects

# Cells are looked at in the background for so many seconds at a time, after likeness was asked for.
_LOOKING = 20.0


@dataclass
class Gallery:
    """What the gallery of a project works with.

    Attributes:
        catalogue: The cells.
        crops: Their pictures.
        storer: Stores what was decided.
        comparer: Lets two versions draw the same tasks.
        fetch: Returns an image by its address, or why it cannot be had.
    """

    catalogue: Catalogue
    crops: Crops
    storer: Storer
    comparer: Comparer
    fetch: Callable[[str], bytes | Exception]
    _looking: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def find_alike(self, number: int, wanted: CellFilter, limit: int) -> tuple[list[Cell], int]:
        """Find the cells that look most like one; those never looked at are looked at meanwhile.

        Args:
            number: Of that one.
            wanted: Which cells are compared.
            limit: How many are returned.

        Returns:
            The cells, most alike first, and how many were compared.
        """
        for cell in self.catalogue.get_cells([number]):
            if self.catalogue.was_seen(number):
                continue
            try:
                self.crops.get(cell)
            except (UnreadableImage, OSError):
                return [cell], 0
        threading.Thread(target=self._look, daemon=True).start()
        return self.catalogue.find_alike(number, wanted, limit)

    def _look(self) -> None:
        if not self._looking.acquire(blocking=False):
            return
        try:
            unseen = self.catalogue.list_unseen(5000)
            self.crops.look_at(unseen, _LOOKING, time.monotonic)
        finally:
            self._looking.release()


class Galleries:
    """The galleries of all projects; safe among threads.

    Args:
        folder: Keeps the pictures of cells.
        catalogues: The cells.
        projects: The connected projects.
        get_source: Returns the images of a project.
        choose_version: Returns the version that is shown in a project.
        load: Loads a version.
    """

    def __init__(
        self,
        folder: Path,
        catalogues: Catalogues,
        projects: Projects,
        get_source: Callable[[Project], ImageSource],
        choose_version: Callable[[Project], str],
        load: Callable[[str], Model],
    ) -> None:
        self._folder = folder
        self._catalogues = catalogues
        self._projects = projects
        self._get_source = get_source
        self._choose_version = choose_version
        self._load = load
        self._opened: dict[int, Gallery] = {}
        self._lock = threading.Lock()

    def get(self, project: Project) -> Gallery:
        """Return the gallery of a project."""
        with self._lock:
            if project.id not in self._opened:
                self._opened[project.id] = self._open(project.id)
            return self._opened[project.id]

    def _open(self, number: int) -> Gallery:
        catalogue, _ = self._catalogues.get(number)

        def connect() -> Project:
            return self._projects.get(number)

        def fetch(address: str) -> bytes | Exception:
            for _, content in self._get_source(connect()).fetch([address]):
                return content
            return UnreadableImage("it cannot be fetched")

        crops = Crops(self._folder / str(number), catalogue, fetch)
        return Gallery(
            catalogue,
            crops,
            Storer(catalogue, connect, self._choose_version),
            Comparer(catalogue, fetch, self._load),
            fetch,
        )
