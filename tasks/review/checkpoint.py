"""What a scan remembers, so that it can be stopped at any point and started again.

One SQLite file for a project, a detector and its options: what was detected in each file, and
the tasks that were on their way to Label Studio and not known to have arrived.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from ml_backend.imaging.merge_detections import WindowDetections
from tasks.detection.background_filter import EmptyWindows
from tasks.detection.window_detector import NO_DETECTIONS, PlaneDetections
from tasks.readers.planes import Rect

_SCHEMA = """
create table if not exists seen (mark text primary key, content blob not null);
create table if not exists window (
    mark text not null, plane integer not null, view text not null, content blob not null,
    primary key (mark, plane, view)
);
create table if not exists sending (key text primary key, at real not null);
"""


class Checkpoint:
    """The file that a scan goes on from; a `DetectionMemory`, safe among threads."""

    def __init__(self, path: Path) -> None:
        """Open the checkpoint, and make it where there is none.

        Raises:
            sqlite3.Error: It cannot be opened, or is damaged.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            path, timeout=10, check_same_thread=False, isolation_level=None
        )
        self._database.execute("pragma journal_mode = wal")
        # What the last moments before a power cut wrote may be lost: it is detected again.
        self._database.execute("pragma synchronous = normal")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; what was kept stays."""
        self._database.close()

    def recall(self, mark: str) -> list[PlaneDetections] | None:
        """Return what was detected in files; None where that is not known.

        Args:
            mark: What changes when the files do, see `FileUnit.mark`.
        """
        with self._lock:
            row = self._database.execute(
                "select content from seen where mark = ?", (mark,)
            ).fetchone()
        return None if row is None else list(map(_parse, json.loads(zlib.decompress(row[0]))))

    def keep(self, mark: str, seen: list[PlaneDetections]) -> None:
        """Keep what was detected in all of the files of a mark."""
        content = zlib.compress(json.dumps(list(map(_serialize, seen))).encode(), 1)
        with self._lock:
            self._database.execute("begin")
            self._database.execute("insert or replace into seen values (?, ?)", (mark, content))
            self._database.execute("delete from window where mark = ?", (mark,))
            self._database.execute("commit")

    def recall_windows(self, mark: str) -> dict[tuple[int, Rect], WindowDetections]:
        """Return what was detected in files that were not read to their end.

        By the number of the plane and the window, px.
        """
        with self._lock:
            rows = self._database.execute(
                "select plane, view, content from window where mark = ?", (mark,)
            ).fetchall()
        known = {}
        for plane, view, content in rows:
            left, top, right, bottom = json.loads(view)
            (seen,) = map(_parse, json.loads(zlib.decompress(content)))
            known[plane, (left, top, right, bottom)] = seen.found
        return known

    def keep_window(self, mark: str, plane: int, view: Rect, found: WindowDetections) -> None:
        """Keep what was detected in a window of a file."""
        seen = PlaneDetections(plane, 0, 0, 0, found)
        content = zlib.compress(json.dumps([_serialize(seen)]).encode(), 1)
        with self._lock:
            self._database.execute(
                "insert or replace into window values (?, ?, ?, ?)",
                (mark, plane, json.dumps(view), content),
            )

    def mark_sending(self, keys: Iterable[str]) -> None:
        """Note that tasks, by key, are about to be sent."""
        now = time.time()
        with self._lock:
            self._database.execute("begin")
            self._database.executemany(
                "insert or replace into sending values (?, ?)", [(key, now) for key in keys]
            )
            self._database.execute("commit")

    def mark_arrived(self) -> None:
        """Note that nothing is on its way any more."""
        with self._lock:
            self._database.execute("delete from sending")

    def list_sending(self) -> tuple[set[str], float]:
        """Return the keys of tasks that may be on their way, and the age of the last in seconds."""
        with self._lock:
            rows = self._database.execute("select key, at from sending").fetchall()
        age = time.time() - max((at for _, at in rows), default=0.0)
        return {key for key, _ in rows}, max(0.0, age)


@dataclass(frozen=True)
class ScanProgress:
    """How far a scan is, by its checkpoint.

    Attributes:
        files: Read to their end.
        unfinished: Large files, of which only some windows were read.
        windows: Those windows.
        sending: Tasks that were on their way to Label Studio and not known to have arrived.
        written: When the checkpoint was last written, in seconds since 1970.
    """

    files: int
    unfinished: int
    windows: int
    sending: int
    written: float


def read_progress(path: Path) -> ScanProgress:
    """Return how far the scan with this checkpoint is, while it goes on or later.

    Raises:
        OSError: The file is gone.
        sqlite3.Error: It is no checkpoint, or damaged.
    """
    written = path.stat().st_mtime
    mode = "immutable=1"  # else SQLite would lay a log beside it, as new as this moment
    with suppress(FileNotFoundError):  # there while a scan writes, or after it was killed
        written = max(written, path.with_name(f"{path.name}-wal").stat().st_mtime)
        mode = "mode=ro"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as database:
        files, unfinished, windows, sending = database.execute(
            "select (select count(*) from seen), (select count(distinct mark) from window),"
            " (select count(*) from window), (select count(*) from sending)"
        ).fetchone()
    return ScanProgress(files, unfinished, windows, sending, written)


def _serialize(plane: PlaneDetections) -> list:
    found = plane.found
    return [
        [plane.number, plane.stack, plane.width, plane.height, *astuple(plane.emptied)],
        found.xyxy.tolist(),
        found.label.tolist(),
        found.confidence.tolist(),
        found.view.tolist(),
    ]


def _parse(content: list) -> PlaneDetections:
    place, xyxy, label, confidence, view = content
    found = NO_DETECTIONS
    if xyxy:
        found = WindowDetections(
            np.array(xyxy, np.float64),
            np.array(label, np.str_),
            np.array(confidence, np.float32),
            np.array(view, np.int64),
        )
    number, stack, width, height, *emptied = place
    return PlaneDetections(number, stack, width, height, found, None, EmptyWindows(*emptied))
