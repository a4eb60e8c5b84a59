"""Versions: their files, their ancestry, and what makes one of them a champion.

A version is a folder that appears whole or not at all.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ml_backend.learners.model_file import FILE_NAME, ModelCard, read_card
from ml_backend.registry.champions import ChampionChange, Champions, list_champions
from ml_backend.registry.mirror import Mirror
from ml_backend.registry.network_files import list_network_files, remove_network
from ml_backend.registry.object_store import ObjectStore
from ml_backend.settings import Settings
from ml_backend.system.atomic_files import read_json, write_json
from ml_backend.system.plain_files import hash_file

# Versions trained with `train --dataset` belong to this project.
DATASET_PROJECT = "dataset"
_RECORD = "version.json"


class UnknownVersion(LookupError):
    """There is no such version or model."""


class WeightsRemoved(ValueError):
    """A version's weights were removed, and what it was asked for needs them."""


@dataclass(frozen=True)
class Version:
    """A trained model and where it comes from.

    Attributes:
        name: The version string, as in Label Studio.
        project: The project's id, "dataset", "file" or "starter".
        created: Seconds since 1970.
        base: What its training started from.
        snapshot: The name of the data it was trained on.
        figures: The evaluations that it was judged by.
        decision: Whether it was promoted, and why.
        seen_hashes: SHA-256 of every image file that it or any ancestor was trained on.
        seen_groups: Every group of these images.
        kind: The learner that trained it.
        earlier: The project's version of before, which had learned some of the images already; from
            it and the base the training went on, unless the head alone learned. "" where none had.
        weights_removed: When its weights were removed, seconds since 1970; 0 while they are there.
    """

    name: str
    project: str
    created: float
    base: str = ""
    snapshot: str = ""
    figures: dict[str, Any] = field(default_factory=dict)
    decision: dict[str, Any] = field(default_factory=dict)
    seen_hashes: tuple[str, ...] = ()
    seen_groups: tuple[str, ...] = ()
    kind: str = "detector"
    weights_removed: float = 0.0
    earlier: str = ""


class Registry(Champions):
    """The versions and champions in a data folder, or in a bucket that it mirrors.

    Args:
        versions: The folder of versions.
        champions: The folder of champions.
        mirror: Of the bucket, where there is one.
        database: The PostgreSQL whose lock writers on several machines share, where there is one.
    """

    def __init__(
        self,
        versions: Path,
        champions: Path,
        mirror: Mirror | None = None,
        database: str | None = None,
    ) -> None:
        super().__init__(champions, mirror, database)
        self._versions = versions
        # Records as they were read, with what changes when their file does.
        self._known: dict[str, tuple[tuple[int, int, int], Version]] = {}

    @classmethod
    def open(cls, settings: Settings) -> Registry:
        """Open the versions and champions of an installation.

        Raises:
            ValueError: The address of its bucket is none, or needs a package.
        """
        mirror = Mirror(ObjectStore(settings.store_url), settings) if settings.store_url else None
        return cls(settings.versions, settings.champions, mirror, settings.database_url)

    # Versions.

    def get_folder(self, name: str) -> Path:
        """Return the folder of a version, with its files, whether it exists or not.

        Raises:
            OSError: Its files are in the bucket, and cannot be had.
        """
        if self.mirror:
            self.mirror.fetch(name)
        return self._versions / name

    def has(self, name: str) -> bool:
        """Tell whether there is a version of that name."""
        if not _is_name(name):
            return False
        if self.mirror and name in self.mirror.list_names():
            return True
        return (self._versions / name / _RECORD).exists()

    def get(self, name: str) -> Version:
        """Read a version.

        Raises:
            UnknownVersion: There is none of that name.
        """
        found = self._read(name) if _is_name(name) else None
        if found is None:
            known = ", ".join(version.name for version in self.list_versions()) or "none yet"
            raise UnknownVersion(f"there is no version {name!r}; known versions: {known}")
        return found

    def get_loadable(self, name: str) -> Version:
        """Read a version that is to be loaded.

        Raises:
            UnknownVersion: There is none of that name.
            WeightsRemoved: Only its record and its card are left.
        """
        version = self.get(name)
        if version.weights_removed:
            day = time.strftime("%Y-%m-%d", time.localtime(version.weights_removed))
            raise WeightsRemoved(
                f"the weights of {name}, which was never a champion, were removed by cytoloop tidy "
                f"on {day}; its figures are kept"
            )
        return version

    def _read(self, name: str) -> Version | None:
        record = self.mirror.get_record(name) if self.mirror else None
        if record is not None:
            return _to_version(record)
        path = self._versions / name / _RECORD
        try:
            state = path.stat()
        except OSError:
            return None
        mark = state.st_mtime_ns, state.st_ino, state.st_size
        kept = self._known.get(name)
        if kept and kept[0] == mark:
            return kept[1]
        record = read_json(path)
        if record is None:
            return None
        version = _to_version(record)
        self._known[name] = mark, version
        return version

    def list_versions(self, project: str | None = None) -> list[Version]:
        """List the versions, oldest first; of one project where it is named."""
        # A hidden folder is a version that was being added when its process was killed.
        names = {path.parent.name for path in self._versions.glob(f"*/{_RECORD}")}
        if self.mirror:
            names |= self.mirror.list_names()
        found = [self.get(name) for name in names if _is_name(name)]
        return sorted(
            (version for version in found if project in (None, version.project)),
            key=lambda version: (version.created, version.name),
        )

    def read_card(self, name: str) -> ModelCard:
        """Read the card in the version's model file."""
        return read_card(self.get_folder(name) / FILE_NAME)

    def make_name(self, project: str, weights: Path, label: str = "v") -> str:
        """Make a name for a new version of a project, with the weights' hash in it."""
        stem = f"{project}-{label}"
        numbers = [
            int(match[1])
            for version in self.list_versions(project)
            if (match := re.match(re.escape(stem) + r"(\d+)-", version.name))
        ]
        return f"{stem}{max(numbers, default=0) + 1}-{hash_file(weights)[:8]}"

    def add(self, version: Version, files: Iterable[Path], root: Path | None = None) -> Version:
        """Add a version: all its files, checked, in one move.

        Adding a version that is there already changes nothing, so a job that was killed may simply
        do it again.

        Args:
            version: Its record.
            files: Copied into its folder under their own names.
            root: The folder of the files, where some are in folders of it that are kept.

        Raises:
            ValueError: The name is not allowed, or the model file cannot be read.
            OSError: A file differs after copying.
        """
        if not _is_name(version.name):
            raise ValueError(f"{version.name!r} cannot be the name of a version")
        if self.has(version.name):
            return self.get(version.name)
        folder = self._versions / version.name
        building = self._versions / f".{version.name}.{secrets.token_hex(4)}"
        building.mkdir(parents=True)
        try:
            for source in files:
                target = building / (source.relative_to(root) if root else source.name)
                target.parent.mkdir(exist_ok=True)
                shutil.copyfile(source, target)
                with open(target, "rb+") as file:
                    os.fsync(file.fileno())  # it survives a power cut, as the champion's file does
                if hash_file(source) != hash_file(target):
                    raise OSError(
                        f"{target} differs from {source} after copying; is the disk full?"
                    )
            read_card(building / FILE_NAME)
            write_json(building / _RECORD, asdict(version))
            if self.mirror:  # first, so that no machine has a version that others cannot see
                self.mirror.publish(version.name, building)
            os.replace(building, folder)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return version

    def record(self, version: Version) -> None:
        """Write down what became known of a version after it was added (figures, decision)."""
        write_json(self.get_folder(version.name) / _RECORD, asdict(version))
        self.publish(version.name)

    def publish(self, name: str) -> None:
        """Show other machines what was written into a version's folder since it was added.

        Raises:
            OSError: There is a bucket, and it cannot be written.
        """
        if self.mirror:
            self.mirror.publish(name, self._versions / name)

    def measure_weights(self, name: str) -> int:
        """Measure what removing a version's weights would free, in bytes.

        Raises:
            OSError: Its files are in the bucket, which cannot be read.
        """
        here = sum(path.lstat().st_size for path in list_network_files(self._versions / name))
        return here or (self.mirror.measure_network(name) if self.mirror else 0)

    def remove_weights(self, name: str) -> None:
        """Remove a version's weights; record, card, figures and pictures stay.

        Nobody may load the version, or promote it, at the same time.

        Raises:
            UnknownVersion: There is none of that name.
            OSError: Its files are in the bucket, and cannot be had or removed.
        """
        version = self.get(name)
        if not version.weights_removed:  # first, so that nobody promotes what has half its files
            self.record(replace(version, weights_removed=time.time()))
        folder = self.get_folder(name)
        remove_network(folder)
        if self.mirror:
            self.mirror.withdraw(name, folder)

    # Champions, who are versions that are there.

    def promote(self, project: str, name: str, *, by: str, reason: str) -> ChampionChange:
        """Make a version the champion.

        Args:
            project: The project's id.
            name: The version.
            by: Who promotes it.
            reason: Why.

        Raises:
            UnknownVersion: There is no such version.
            WeightsRemoved: It cannot serve any more.
        """
        self.get_loadable(name)
        with self._lock():
            return self._point(project, name, "promotion", by, reason)

    def roll_back(
        self, project: str, *, by: str, reason: str, of: str | None = None
    ) -> ChampionChange:
        """Go back to the champion before the present one.

        Each call goes back one step further, never to and fro between two versions.

        Args:
            project: The project's id.
            by: Who rolls back.
            reason: Why.
            of: The champion to roll back; by default the present one. Another may have followed it.

        Raises:
            UnknownVersion: `of` is not the champion any more, or none was before it.
            WeightsRemoved: The one before cannot serve any more.
        """
        with self._lock():
            champions = list_champions(self.list_changes(project))
            if of is not None and champions[-1:] != [of]:
                raise UnknownVersion(f"{of} is not the champion of project {project} any more")
            if len(champions) < 2:
                raise UnknownVersion(f"project {project} has no earlier champion to go back to")
            self.get_loadable(champions[-2])
            return self._point(project, champions[-2], "rollback", by, reason)


def _to_version(record: dict[str, Any]) -> Version:
    lists = {name: tuple(record[name]) for name in ("seen_hashes", "seen_groups")}
    return Version(**{**record, **lists})


def _is_name(name: str) -> bool:
    """Tell whether it can be a version's name: a safe name of a folder."""
    return bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", name))


def check_word(word: str | None) -> None:
    """Check a word that is to be part of a version's name; None and "" may.

    Raises:
        ValueError: It has other characters than are allowed.
    """
    if word and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", word):
        raise ValueError(
            f"{word!r} cannot be in a version's name: give up to 64 of the letters a to z and A "
            "to Z, digits, '.', '_' and '-'"
        )
