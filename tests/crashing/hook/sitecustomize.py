"""Kill points: every process of the product passes them when it writes, and may die there.

Python imports a module of this name before anything else. It is on the path of the
processes under test alone, and the product knows nothing of it. Wherever something
becomes visible to others (a file moved into place, a transaction, a request that changes
something in Label Studio, a child started), the point before and the point after it are
written down, and a process with a plan for one of them kills itself there with SIGKILL,
as a power cut or the kernel would.

CRASHES_FOLDER holds points.log, a line for every point passed, and plan-ROLE.json, which
the next process of that role takes: {"points": [...] or null for any, "count": n} to die
at the n-th of these, {"seconds": s} to die then, wherever it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROLES = {
    "worker": ("ml_backend", "worker"),
    "server": ("ml_backend", "serve"),
    "training": ("ml_backend.learners.training_child",),
    "recorder": ("ml_backend.retraining.mlflow_log",),
}
_WRITE = re.compile(
    r"\s*(?:insert\s+(?:or\s+\w+\s+)?into|update|delete\s+from|replace\s+into|create\s+table"
    r"(?:\s+if\s+not\s+exists)?)\s+(?:[\"`]?(main|dbos|cytoloop_state)[\"`]?\.)?[\"`]?(\w+)",
    re.IGNORECASE,
)


def role() -> str:
    """What this process is to the product; '' for any other."""
    words = sys.orig_argv
    if "-m" not in words:
        return ""
    module = words[words.index("-m") + 1 :]
    return next((name for name, start in ROLES.items() if tuple(module[: len(start)]) == start), "")


class Points:
    """What this process passes, and where it is to die."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(os.environ["CRASHES_FOLDER"])
        self.data = os.path.abspath(os.environ["CYTOLOOP_DATA_DIR"])
        self.plan = self._take()
        self.left = self.plan.get("count", 0)
        self.lock = threading.Lock()
        self.dying = threading.Lock()  # never freed
        self.log = os.open(self.folder / "points.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if "seconds" in self.plan:
            self.later(self.plan["seconds"], "at any time")

    def _take(self) -> dict[str, Any]:
        mine = self.folder / f"taken-{self.name}-{os.getpid()}.json"
        try:
            os.rename(self.folder / f"plan-{self.name}.json", mine)
        except FileNotFoundError:
            return {}
        return json.loads(mine.read_text())

    def later(self, seconds: float, point: str) -> None:
        timer = threading.Timer(seconds, self.die, [point])
        timer.daemon = True
        timer.start()

    def passes(self, point: str) -> None:
        with self.lock:
            wanted = self.plan.get("points")
            mine = self.left > 0 and (wanted is None or point in wanted)
            self.left -= mine
            if mine and self.left == 0:
                self.die(point)
            self._write(point, killed=False)

    def die(self, point: str) -> None:
        if not self.dying.acquire(blocking=False):
            time.sleep(60)  # another thread is at it; two trainings may start at one time
        self._write(point, killed=True)
        if self.name == "server":  # gunicorn's parent would start another at once
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)

    def _write(self, point: str, *, killed: bool) -> None:
        line = {
            "role": self.name,
            "point": point,
            "killed": killed,
            "pid": os.getpid(),
            "at": time.time(),
        }
        os.write(self.log, (json.dumps(line) + "\n").encode())


POINTS: Points | None = None


def begin(name: str) -> None:
    """From here on this process passes points, and may die at one."""
    global POINTS
    POINTS = Points(name)


def passes(point: str) -> None:
    if POINTS is not None:
        POINTS.passes(point)


def later(point: str, seconds: float | None = None) -> None:
    """Die in a moment, while what comes now goes on, if the plan says so."""
    if POINTS is not None and point in (POINTS.plan.get("points") or ()):
        POINTS.later(POINTS.plan.get("while", 1.0) if seconds is None else seconds, point)


def instrument() -> None:
    """Lay the points, once a process, before it imports what it writes with."""
    _files()
    _databases()
    _children()
    _after_import("httpx", _requests)
    # Waits that would only make a round longer.
    _after_import("ml_backend.serving.publish", lambda module: setattr(module, "GRACE", 0.0))
    _after_import("ml_backend.retraining.jobs", lambda module: setattr(module, "FIRST_WAIT", 1.0))
    _after_import("ml_backend.retraining.jobs", lambda module: setattr(module, "GROWTH", 1.5))
    _after_import("ml_backend.retraining.worker", lambda module: setattr(module, "FIRST_WAIT", 0.5))
    _after_import(
        "ml_backend.label_studio.session", lambda module: setattr(module, "WAITS", (0.2,))
    )


def _inside(path: Any) -> str:
    """A path below the data folder."""
    return os.path.relpath(os.path.abspath(path), POINTS.data if POINTS else "/")


def _files() -> None:
    import shutil

    def place(path: Any) -> str:
        inside = _inside(path).split(os.sep)
        if inside[0] == "..":
            return "a temporary file"
        if inside[0] == "versions":
            return "a version's record" if inside[-1] == "version.json" else "a version"
        return inside[0] if len(inside) == 1 else f"{inside[0]}/"

    def wrap(module: Any, name: str, verb: str) -> None:
        real = getattr(module, name)

        def wrapped(source: Any, target: Any, *more: Any, **named: Any) -> Any:
            what = f"{verb} {place(target)}"
            passes(f"before: {what}")
            done = real(source, target, *more, **named)
            if POINTS and POINTS.name == "training" and str(target).endswith("done.json"):
                # The last file of a training: it is whole, and must not be done again.
                with open(POINTS.folder / "trained.log", "a") as trained:
                    trained.write(_inside(os.path.dirname(target)) + "\n")
            passes(f"after: {what}")
            return done

        setattr(module, name, wrapped)

    wrap(os, "replace", "move into place")
    wrap(os, "rename", "move into place")
    wrap(shutil, "copyfile", "copy")


def _databases() -> None:
    real = sqlite3.connect

    class Connection(sqlite3.Connection):
        """Knows which table its transaction last wrote to."""

        table = ""
        file = ""

        def watch(self, database: Any) -> None:
            self.file = Path(str(database)).stem

            def seen(statement: str) -> None:
                if match := _WRITE.match(statement):
                    self.table = match[2]

            self.set_trace_callback(seen)

        def _committed(self, commit: Any) -> Any:
            what, self.table = f"commit {self.file} {self.table}", ""
            if what.endswith(" "):
                return commit()
            passes(f"before: {what}")
            done = commit()
            passes(f"after: {what}")
            return done

        def commit(self) -> None:
            self._committed(super().commit)

        def __exit__(self, *error: Any) -> Any:
            leave = super().__exit__
            if error[0] is not None:
                return leave(*error)
            return self._committed(lambda: leave(*error))

    def connect(database: Any, *more: Any, **named: Any) -> sqlite3.Connection:
        named.setdefault("factory", Connection)
        connection = real(database, *more, **named)
        if isinstance(connection, Connection):
            connection.watch(database)
        return connection

    _after_import("psycopg", _postgres)
    sqlite3.connect = connect  # type: ignore[assignment]
    sqlite3.dbapi2.connect = connect  # type: ignore[attr-defined]


def _postgres(psycopg: Any) -> None:
    """The same points as SQLite has: there is a file for each schema."""
    written: dict[int, str] = {}  # by connection
    files = {"dbos": "jobs", "cytoloop_state": "projects"}

    def watch(name: str) -> None:
        real = getattr(psycopg.Cursor, name)

        def seen(cursor: Any, query: Any, *more: Any, **named: Any) -> Any:
            if match := _WRITE.match(str(query)):
                written[id(cursor.connection)] = f"{files.get(match[1], '')} {match[2]}"
            return real(cursor, query, *more, **named)

        setattr(psycopg.Cursor, name, seen)

    watch("execute")
    watch("executemany")
    real = psycopg.Connection.commit

    def commit(connection: Any) -> None:
        what = written.pop(id(connection), "")
        if not what:
            return real(connection)
        passes(f"before: commit {what}")
        real(connection)
        passes(f"after: commit {what}")

    psycopg.Connection.commit = commit


def _requests(httpx: Any) -> None:
    real = httpx.Client.send

    def send(client: Any, request: Any, **named: Any) -> Any:
        if request.method in ("GET", "HEAD"):
            return real(client, request, **named)
        path = re.sub(r"/\d+", "/N", request.url.path)
        what = f"{request.method} {path}"
        passes(f"before: {what}")
        later(f"during: {what}", 0.05)
        reply = real(client, request, **named)
        passes(f"after: {what}")
        return reply

    httpx.Client.send = send


def _children() -> None:
    import subprocess

    class Popen(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, args: Any, *more: Any, **named: Any) -> None:
            words = args if isinstance(args, (list, tuple)) else [args]
            module = str(words[words.index("-m") + 1]) if "-m" in words else str(words[0])
            what = f"start {module.rsplit('.', 1)[-1]}"
            passes(f"before: {what}")
            super().__init__(args, *more, **named)
            later(f"while: {what}")
            passes(f"after: {what}")

    subprocess.Popen = Popen  # type: ignore[misc]


def _after_import(name: str, act: Any) -> None:
    """Call act(module) as soon as the module of that name has been imported."""

    class Finder(importlib.abc.MetaPathFinder):
        def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
            if fullname != name:
                return None
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(fullname)
            if spec is None or spec.loader is None:
                return spec
            real = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                real(module)
                act(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
            return spec

    sys.meta_path.insert(0, Finder())


ROLE = role()
if ROLE == "recorder" and os.environ.get("CRASHES_RECORDER") == "none":
    os._exit(0)
if ROLE and "CRASHES_FOLDER" in os.environ:
    instrument()
    begin(ROLE)
    if ROLE == "training" and "CRASHES_TRAINED" in os.environ:
        from tests.crashing import trainer

        trainer.main(Path(sys.orig_argv[-2]), int(sys.orig_argv[-1]))
