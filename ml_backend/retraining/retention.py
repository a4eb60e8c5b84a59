"""What may go from a data folder: nothing that a decision, a figure or a version refers to.

Records of versions, their figures and the champions' history stay for good. So do the weights of
every version that ever drew anything, or that a person made or chose; those of candidates that were
not promoted go once a project has enough newer ones. A snapshot stays while a version was trained
on it or a project's last training used it, and an image while such a snapshot lists it: where Label
Studio has lost the image, that copy is the only one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ml_backend.counting.sample import SampleStore
from ml_backend.dataset.snapshot import load_snapshot
from ml_backend.label_studio.installation import VERSION
from ml_backend.registry.resolve import INT8
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
    """A file or folder that may go, or the weights in a version's folder.

    Attributes:
        path: Where it is.
        size: Bytes, with all below it; of a version, those of its weights.
        reason: Why it may go.
        version: The version whose weights may go, while the rest of its folder stays; else "".
    """

    path: Path
    size: int
    reason: str
    version: str = ""


def find_superfluous(settings: Settings) -> list[Superfluous]:
    """Find what may go.

    The setting `keep_days` says how old a file has to be, and `keep_candidates` how many versions
    that were not promoted a project keeps with their weights.

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
        *_find_unused_weights(settings),
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
    registry = Registry.open(settings)
    if is_worker_running(settings) or is_locked(settings.data_dir / "up.lock"):
        raise FolderInUse(f"cytoloop runs on {settings.data_dir}: end it, then tidy")
    for item in items:
        if item.version:
            registry.remove_weights(item.version)
        elif item.path.is_dir() and not item.path.is_symlink():
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


def _find_unused_weights(settings: Settings) -> Iterator[Superfluous]:
    """Find the weights of candidates that were not promoted, beyond the newest of each project."""
    registry = Registry.open(settings)
    used = _list_used_versions(settings, registry)
    newer: Counter[str] = Counter()
    for version in reversed(registry.list_versions()):
        # One that was not judged yet may be a job's that goes on at the worker's next start.
        refused = version.decision.get("promoted") is False
        if not version.project.isdecimal() or not refused or version.name in used:
            continue
        newer[version.project] += 1
        if newer[version.project] <= settings.keep_candidates:
            continue
        if size := registry.measure_weights(version.name):
            path = settings.versions / version.name
            reason = "weights of a version that was not promoted; its figures stay"
            yield Superfluous(path, size, reason, version.name)


def _list_used_versions(settings: Settings, registry: Registry) -> set[str]:
    """List the versions whose weights stay: that drew something, or that a person chose."""
    used = registry.list_ever_champions()
    for version in registry.list_versions():
        used |= {version.base, version.earlier}
        # Somebody made an INT8 form of it, to detect with it by its name.
        if (settings.versions / version.name / INT8).exists():
            used.add(version.name)
    if is_there(settings.projects_database):
        projects = Projects(settings.projects_database)
        used |= projects.list_shown_versions() | projects.list_scoring_versions()
    if is_there(settings.samples_database):
        used |= SampleStore(settings.samples_database).list_versions()
    return used


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
