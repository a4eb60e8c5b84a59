"""Versions, champions and snapshots in a bucket, which a data folder mirrors.

    files/SHA256              what versions are made of
    versions/NAME.json        a version: its record, and which files it has
    champions/PROJECT.json    who is champion, with the history
    snapshots/NAME.json       what was trained on

A file never changes, and a version is one object that is written when its files are there: nobody
sees half of one. The data folder keeps what was read; every machine may have one of its own.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from ml_backend.learners.model_file import FILE_NAME
from ml_backend.registry.network_files import is_network_file
from ml_backend.registry.object_store import ObjectStore
from ml_backend.settings import Settings
from ml_backend.system.atomic_files import read_json, replace_file, write_json
from ml_backend.system.plain_files import hash_file

log = logging.getLogger(__name__)

# What other machines wrote is seen after so many seconds.
_FRESH = 2.0
# In a version's folder: its files as the bucket has them, by name.
_STORED = ".files.json"
_RECORD = "version.json"


class Mirror:
    """What a bucket holds, as a data folder shows it; safe among threads."""

    def __init__(self, store: ObjectStore, settings: Settings) -> None:
        self._store = store
        self._versions = settings.versions
        # Mirrored as they are, because they are small.
        self._copied = {"champions": settings.champions, "snapshots": settings.snapshots}
        self._marks: dict[str, str] = {}
        self._kept: dict[str, dict[str, Any]] = {}
        self._looked = float("-inf")
        self._lock = threading.RLock()

    # Reading.

    def refresh(self, seconds: float = _FRESH) -> None:
        """Look what other machines wrote.

        Where the bucket cannot be read, what is known goes on being served.

        Args:
            seconds: Not if that was done within so many.
        """
        with self._lock:
            if time.monotonic() - self._looked < seconds:
                return
            try:
                self._read_new()
            except OSError as error:
                log.warning("%s; going on with what is known", error)
            self._looked = time.monotonic()

    def list_names(self) -> set[str]:
        """List the versions that the bucket holds."""
        self.refresh()
        return set(self._kept)

    def get_record(self, name: str) -> dict[str, Any] | None:
        """Return the record of a version; None where the bucket holds none of that name."""
        self.refresh()
        kept = self._kept.get(name)
        return None if kept is None else dict(kept["record"])

    def fetch(self, name: str) -> None:
        """See that the folder of a version holds its files as the bucket does.

        Raises:
            OSError: The bucket cannot be read, or a file is not what it was.
        """
        self.refresh()
        kept = self._kept.get(name)
        folder = self._versions / name
        if kept is None or read_json(folder / _STORED) == kept["files"]:
            return
        with self._lock:
            here = read_json(folder / _STORED, {})
            building = self._versions / f".{name}.{secrets.token_hex(4)}"
            try:
                for path, digest in kept["files"].items():
                    if here.get(path) != digest:
                        self._download(digest, building / path)
                write_json(building / _RECORD, kept["record"])
                write_json(building / _STORED, kept["files"])
                if not folder.exists():
                    os.replace(building, folder)
                    return
                for path in here.keys() - kept["files"].keys():  # another machine withdrew them
                    (folder / path).unlink(missing_ok=True)
                for path in [*kept["files"], _RECORD, _STORED]:  # what says that all is there last
                    if (building / path).exists():
                        (folder / path).parent.mkdir(exist_ok=True)
                        os.replace(building / path, folder / path)
            finally:
                shutil.rmtree(building, ignore_errors=True)

    def measure_network(self, name: str) -> int:
        """Measure the files of a version's network in the bucket, in bytes; 0 once it was removed.

        Raises:
            OSError: The bucket cannot be read.
        """
        self.refresh()
        kept = self._kept.get(name) or {"record": {}, "files": {}}
        files = {path: digest for path, digest in kept["files"].items() if is_network_file(path)}
        if kept["record"].get("weights_removed") and list(files) == [FILE_NAME]:
            return 0
        return sum(self._store.measure(f"files/{digest}") for digest in files.values())

    def _read_new(self) -> None:
        for name, content in self._read_changed("versions"):
            self._kept[name] = json.loads(content)
        for folder, here in self._copied.items():
            for name, content in self._read_changed(folder):
                with replace_file(here / f"{name}.json") as temporary:
                    temporary.write_bytes(content)

    def _read_changed(self, folder: str) -> list[tuple[str, bytes]]:
        changed = []
        for name, mark in self._store.list_marks(folder).items():
            key = f"{folder}/{name}"
            if self._marks.get(key) != mark:
                changed.append((name.removesuffix(".json"), self._store.read(key)))
                self._marks[key] = mark
        return changed

    def _download(self, digest: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._store.download(f"files/{digest}", path)
        if hash_file(path) != digest:
            raise OSError(f"files/{digest} of the store is not what was written")

    # Writing.

    def publish(self, name: str, folder: Path) -> None:
        """Write a version into the bucket, as a folder holds it now.

        Args:
            name: The version.
            folder: With all its files and its record.

        Raises:
            OSError: The bucket cannot be written.
        """
        files = {
            path.relative_to(folder).as_posix(): hash_file(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != _RECORD and not _is_hidden(path, folder)
        }
        with self._lock:
            known = (self._kept.get(name) or {"files": {}})["files"].values()
            for path, digest in files.items():
                if digest not in known and not self._store.has(f"files/{digest}"):
                    self._store.upload(folder / path, f"files/{digest}")
            kept = {"record": read_json(folder / _RECORD), "files": files}
            self._store.write(f"versions/{name}.json", _to_bytes(kept))
            self._kept[name] = kept
            write_json(folder / _STORED, files)

    def withdraw(self, name: str, folder: Path) -> None:
        """Publish a version that has fewer files now; those that no other version has go.

        Raises:
            OSError: The bucket cannot be written.
        """
        self.refresh(0)
        with self._lock:
            before = set((self._kept.get(name) or {"files": {}})["files"].values())
            self.publish(name, folder)
            listed = {digest for kept in self._kept.values() for digest in kept["files"].values()}
            for digest in before - listed:
                self._store.remove(f"files/{digest}")

    def put(self, folder: str, name: str, value: Any) -> None:
        """Write a champion's pointer or a snapshot into the bucket.

        Args:
            folder: "champions" or "snapshots".
            name: The project, or the snapshot.
            value: What its JSON file holds.

        Raises:
            OSError: The bucket cannot be written.
        """
        self._store.write(f"{folder}/{name}.json", _to_bytes(value))


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _to_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode(
        "utf-8", "backslashreplace"
    )
