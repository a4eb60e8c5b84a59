"""What the images of tasks are called outside Label Studio, and which task a name means.

A task's image has the name that it was imported by (`source` in the task's data), and the
last part of its address, before which Label Studio puts eight digits at an upload.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

# Bytes; file systems take 255, and a number or another ending may be added.
LONGEST_NAME = 200

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")


class Names:
    """The names of a project's tasks."""

    def __init__(self, tasks: Iterable[tuple[int, Mapping[str, Any]]], image_key: str) -> None:
        """Collect the names.

        Args:
            tasks: (id, data) of each task.
            image_key: The field of the data that holds the image.
        """
        self._all = {task: _find_names(data, image_key) for task, data in tasks}
        counts = Counter(name for names in self._all.values() for name in names)
        self._names = {
            task: next((name for name in names if counts[name] == 1), f"{task}-{names[-1]}")
            for task, names in self._all.items()
        }
        self._exact: dict[str, set[int]] = defaultdict(set)
        self._flat: dict[str, set[int]] = defaultdict(set)
        self._last: dict[str, set[int]] = defaultdict(set)
        self._stem: dict[str, set[int]] = defaultdict(set)
        for task, names in self._all.items():
            for name in {*names, self._names[task], add_number(task, self._names[task])}:
                name = _compose(name)
                self._exact[name].add(task)
                self._flat[flatten(name)].add(task)
                self._last[PurePosixPath(name).name].add(task)
                self._stem[PurePosixPath(name).stem].add(task)
                self._stem[PurePosixPath(flatten(name)).stem].add(task)

    def get(self, task: int) -> str:
        """The name of a task's image; no other task of the project has it."""
        return self._names[task]

    def find(self, written: str, *, stem: bool = False) -> int:
        """The task whose image somebody means by a name or path.

        The whole name counts first, then the end of the path: of several images of one
        name, the one whose folders are the same the furthest up.

        Args:
            written: The name or path.
            stem: Whether the name was written without its ending.

        Returns:
            The id of the task.

        Raises:
            LookupError: None or several have this name; the message says which.
        """
        written = _compose(str(written).replace("\\", "/"))
        last = PurePosixPath(written).name
        for whole in () if stem else (self._exact, self._flat):
            exact = whole.get(written, set())
            if len(exact) == 1:
                return next(iter(exact))
        found = (self._stem if stem else self._last).get(last, set())
        if len(found) > 1:
            folders = PurePosixPath(written).parts[:-1]
            shared = {task: self._count_shared(task, folders) for task in found}
            found = {task for task in found if shared[task] == max(shared.values())}
        if len(found) == 1:
            return next(iter(found))
        raise LookupError(
            f"{len(found)} images of the project are called {written}"
            if found
            else f"no image of the project is called {written}"
        )

    def _count_shared(self, task: int, folders: tuple[str, ...]) -> int:
        """How many folders of a task's image, counted upwards, are the given ones."""
        most = 0
        for name in self._all[task]:
            own = PurePosixPath(_compose(name)).parts[:-1]
            same = 0
            for a, b in zip(reversed(own), reversed(folders), strict=False):
                if a != b:
                    break
                same += 1
            most = max(most, same)
        return most


def flatten(name: str) -> str:
    """A path as the name of a single file that every system takes."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")]
    plain = re.sub(r'[<>:"|?*\x00-\x1f\ud800-\udfff]', "_", "_".join(parts)).strip(" .") or "_"
    if len(plain.encode()) <= LONGEST_NAME:
        return plain
    # What is left out is told by a hash, so that two long names stay two.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    stem, ending = PurePosixPath(plain).stem, PurePosixPath(plain).suffix
    ending = ending if len(ending.encode()) <= 16 else ""
    room = LONGEST_NAME - len(digest) - 1 - len(ending.encode())
    return f"{stem.encode()[:room].decode(errors='ignore')}-{digest}{ending}"


def _compose(name: str) -> str:
    """Join letters and their accents: macOS writes them apart, other systems do not."""
    return unicodedata.normalize("NFC", name)


def add_number(task: int, name: str) -> str:
    """A name for where another image has the same one, or one that looks the same."""
    return f"{task}-{flatten(name)}"


def _find_names(data: Mapping[str, Any], image_key: str) -> list[str]:
    """All names of an image, the one that the user gave it first."""
    parts = urlsplit(str(data.get(image_key) or ""))
    path = parts.query.removeprefix("d=") if "local-files" in parts.path else parts.path
    stored = PurePosixPath(unquote(path)).name
    given = str(data.get("source") or "").replace("\\", "/")
    uploaded = _UPLOADED.sub("", stored) if "/upload/" in parts.path else stored
    return [name for name in dict.fromkeys((given, uploaded, stored)) if name] or ["image"]
