"""What may go from a data folder: nothing that a decision, a figure or a version refers to.

Versions, their records and the champions' history stay for good. A snapshot stays while a version
was trained on it or a project's last training used it, and an image while such a snapshot lists it:
where Label Studio has lost the image, that copy is the only one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_backend.dataset.snapshot import load_snapshot
from ml_backend.label_studio.installation import VERSION
from ml_backend.registry.versions import Registry
from ml_backend.retraining.crew import is_worker_running
from ml_backend.settings import Settings
from ml_backend.state.projects import Projects
from ml_backend.system.database import is_there
from ml_backend.system.locks import is_locked

_DAY = 86_400.0


class FolderInUse(RuntimeError):
    """Something runs on the data folder."""


@dataclass(frozen=True)
class Superfluous:
    """A file or folder that may go.

    Attributes:
        path: Where it is.
        size: Bytes, with all below it.
        reason: Why it may go.
    """

    path: Path
    size: int
    reason: str


def find_superfluous(settings: Settings) -> list[Superfluous]:
    """Find what may go: the setting `keep_days` says how old it has to be.

    Args:
        settings: Of the data folder.

    Returns:
        The largest first.
    """
    before = time.time() - settings.keep_days * _DAY
    named = set(_list_named_snapshots(settings))
    listed = _list_images(settings, named)
    found = [
        *_find_old(
            (path for path in settings.snapshots.glob("*.json") if path.stem not in named),
            before,
            "a snapshot that no version was trained on",
        ),
        *_find_old(
            (path for path in settings.images.glob("*/*") if path not in listed),
            before,
            "a fetched image that no version was trained on or judged by",
        ),
        *_find_old(settings.training.glob("*"), before, "left by a training"),
        *_find_old(settings.logs.glob("*.log.*"), before, "an old log"),
        *_find_old_environments(settings),
    ]
    return sorted(found, key=lambda item: -item.size)


def remove(items: list[Superfluous], settings: Settings) -> int:
    """Remove what was found.

    Args:
        items: Of `find_superfluous`.
        settings: Of the same data folder.

    Returns:
        How many bytes are free now that were not.

    Raises:
        FolderInUse: A worker, or `cytoloop up`, runs on the folder and may need them.
    """
    freed = 0
    if is_worker_running(settings) or is_locked(settings.data_dir / "up.lock"):
        raise FolderInUse(f"cytoloop runs on {settings.data_dir}: end it, then tidy")
    for item in items:
        if item.path.is_dir() and not item.path.is_symlink():
            shutil.rmtree(item.path)
        else:
            item.path.unlink(missing_ok=True)
        freed += item.size
    return freed


def _list_named_snapshots(settings: Settings) -> Iterator[str]:
    """Yield the names of the snapshots that versions and the projects' last trainings used."""
    for version in Registry.open(settings).list_versions():
        yield version.snapshot
    if is_there(settings.projects_database):
        projects = Projects(settings.projects_database)
        for project in projects.list_projects():
            yield projects.get_last_attempt(project.id) or ""


def _list_images(settings: Settings, named: set[str]) -> set[Path]:
    listed = set()
    for name in filter(None, named):
        snapshot = load_snapshot(name, settings.snapshots)
        if snapshot is not None:
            folder = settings.images / str(snapshot.project)
            listed |= {folder / item.image for item in snapshot.items}
    return listed


def _find_old(paths: Iterator[Path], before: float, reason: str) -> Iterator[Superfluous]:
    for path in paths:
        if path.name.startswith(".") or path.is_symlink():
            continue
        if max(_list_times(path), default=time.time()) < before:
            yield Superfluous(path, _measure(path), reason)


def _find_old_environments(settings: Settings) -> Iterator[Superfluous]:
    """Find earlier releases of Label Studio, once the present one is installed."""
    present = f"environment-{VERSION}"
    if (settings.studio / present).exists():
        for path in settings.studio.glob("environment-*"):
            if path.is_dir() and path.name != present:
                yield Superfluous(path, _measure(path), "an earlier release of Label Studio")


def _list_files(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for parent, _, files in os.walk(path):
        yield from (Path(parent) / name for name in files)


def _list_times(path: Path) -> Iterator[float]:
    yield path.lstat().st_mtime
    for file in _list_files(path):
        yield file.lstat().st_mtime


def _measure(path: Path) -> int:
    return sum(file.lstat().st_size for file in _list_files(path))
